// Runs the test files one after the other, and ends with "N passed, N failed".

import { readdirSync } from "node:fs"
import { run } from "node:test"
import { spec } from "node:test/reporters"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL(".", import.meta.url))
const wanted = process.argv.slice(2)
const files = readdirSync(folder).filter((file) => file.endsWith(".test.js") && (!wanted.length || wanted.some((one) => file.startsWith(one)))).map((file) => folder + file)
let passed = 0
let failed = 0
let skipped = 0
// a file counts only where it did not come to its tests; a suite where it has none
const counts = (event) => event.details?.type !== "suite" && !(files.includes(event.name) && event.nesting === 0)
run({ files, concurrency: 1, timeout: 240_000 })
	.on("test:pass", (event) => counts(event) && (event.skip === undefined ? passed++ : skipped++))
	.on("test:fail", (event) => counts(event) ? failed++ : event.details?.error?.failureType !== "subtestsFailed" && failed++)
	.on("end", () => setImmediate(() => {
		console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`)
		process.exitCode = failed || !passed ? 1 : 0
	}))
	.compose(new spec())
	.pipe(process.stdout)
