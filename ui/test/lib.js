// A database, a dashboard, a browser and workers, for one file of tests.

import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { after } from "node:test"
import pg from "pg"
import { chromium } from "playwright-core"
import { Worker } from "../demo/worker.js"

pg.types.setTypeParser(pg.types.builtins.INT8, Number)

export const bin = fileURLToPath(new URL("../bin/durable-ui.js", import.meta.url))
export const connectionTo = (database, user = "postgres") =>
	`postgres://${user}@/${database}?host=${encodeURIComponent(process.env.PGHOST)}&port=${process.env.PGPORT ?? 5432}`

const closers = []
after(async () => {
	for (const close of closers.reverse()) await close()
})
export const atEnd = (close) => closers.push(close)

/** A database of its own, dropped at the end. */
export async function newDatabase(name, { extension = true } = {}) {
	const admin = new pg.Client({ connectionString: connectionTo("postgres") })
	await admin.connect()
	await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
	await admin.query(`CREATE DATABASE ${name}`)
	await admin.end()
	const pool = new pg.Pool({ connectionString: connectionTo(name), max: 4 })
	pool.on("error", () => {})
	atEnd(() => pool.end())
	const db = {
		name, connection: connectionTo(name), pool,
		query: async (sql, values) => (await pool.query(sql, values)).rows,
		one: async (sql, values) => {
			const [row] = (await pool.query(sql, values)).rows
			return row && Object.keys(row).length === 1 ? Object.values(row)[0] : row
		},
	}
	if (extension) await db.query("CREATE EXTENSION durable")
	return db
}

/** The dashboard as its user starts it. */
export async function startUi(connection, ...options) {
	const { env = {}, args } = typeof options.at(-1) === "object" ? { ...options.at(-1), args: options.slice(0, -1) } : { args: options }
	const child = spawn(process.execPath, [bin, "--port", "0", ...args, connection], { env: { ...process.env, ...env } })
	let output = ""
	const url = await new Promise((resolve, reject) => {
		const look = (chunk) => {
			output += chunk
			const found = /Dashboard: (\S+)/.exec(output)
			if (found) resolve(found[1])
		}
		child.stdout.on("data", look)
		child.stderr.on("data", look)
		child.on("exit", (code) => reject(new Error(`durable-ui ended with ${code}: ${output}`)))
	})
	const stop = () => new Promise((resolve) => {
		if (child.exitCode !== null || child.signalCode) return resolve()
		child.on("exit", resolve)
		child.kill()
	})
	atEnd(stop)
	return {
		url, stop, pid: child.pid,
		get: (path, headers = {}) => fetch(url + path, { headers }),
		post: (path, body, headers = {}) => fetch(url + path, {
			method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers: { "Content-Type": "application/json", "X-Durable-UI": "1", ...headers },
		}),
	}
}

let context
/** A page in the one browser of this file; whatever goes wrong in it fails the test. */
export async function newPage(size = { width: 1280, height: 860 }) {
	if (!context) {
		const profile = mkdtempSync(join(tmpdir(), "durable-ui-"))
		context = await chromium.launchPersistentContext(profile, {
			executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, viewport: size,
			args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
		})
		context.setDefaultTimeout(15_000)
		atEnd(async () => {
			await context.close()
			rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
		})
	}
	const page = await context.newPage()
	await page.setViewportSize(size)
	page.problems = []
	page.on("pageerror", (error) => page.problems.push(error.message))
	page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()))
	page.on("request", (request) => page.asked?.push(request.url()))
	return page
}

/** Nothing was thrown, nothing was refused by the policy. */
export function clean(page, but = /^$/) {
	const found = page.problems.filter((one) => !but.test(one))
	page.problems.length = 0
	assert.deepEqual(found, [])
}

export function newWorker(db, id, queues, handlers, more = {}) {
	const worker = new Worker({ connection: db.connection, id, queues, handlers, ...more })
	worker.ended = worker.run()
	atEnd(() => worker.stopped || worker.stop())
	return worker
}

export async function until(what, holds, seconds = 20) {
	const end = Date.now() + seconds * 1000
	for (;;) {
		const value = await holds()
		if (value) return value
		if (Date.now() > end) assert.fail(`not within ${seconds} s: ${what}`)
		await new Promise((resolve) => setTimeout(resolve, 50))
	}
}

export const start = (db, name, handler, queue, input = null) =>
	db.one("SELECT workflow_id FROM durable.start($1, $2, $3, queue => $4)", [name, JSON.stringify(input), handler, queue])
