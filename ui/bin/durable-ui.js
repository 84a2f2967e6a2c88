#!/usr/bin/env node
import { existsSync } from "node:fs"

const server = new URL("../dist/server/main.js", import.meta.url)
if (!existsSync(server)) {
	console.error("durable-ui is not built yet: run `npm ci` (or `npm run build`) in its directory.")
	process.exit(1)
}
await import(server.href)
