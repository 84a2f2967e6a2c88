// durable-ui postgres://...

import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { serve } from "@hono/node-server"
import { createApp } from "./app.ts"
import { Database } from "./db.ts"
import { startSampling } from "./rates.ts"

const usage = `Usage: durable-ui [options] [postgres://user@host/database]

Without a connection string PGHOST, PGUSER and their like say where, or DATABASE_URL.

  --host ADDRESS          listen there instead of localhost only (127.0.0.1)
  --port N                8484; 0 takes a free one
  --base-path /PATH       where it stands behind a proxy
  --read-only             no buttons, whatever the role may do
  --hide-payloads         show no inputs, outputs, details and payloads
  --basic-auth USER:PASS  ask for these (better: DURABLE_UI_BASIC_AUTH)
  --trusted-header NAME   refuse requests without this header, set by a proxy that has asked
  --allow-host NAME       also answer under this name; with --host any is, unless given
  --statement-timeout S   seconds that a statement may run (10)
`

function fail(message: string): never {
	console.error(`durable-ui: ${message}\n\n${usage}`)
	process.exit(2)
}

let parsed
try {
	parsed = parseArgs({
		allowPositionals: true,
		options: {
			host: { type: "string" }, port: { type: "string" }, "base-path": { type: "string" }, "read-only": { type: "boolean" },
			"hide-payloads": { type: "boolean" }, "basic-auth": { type: "string" }, "trusted-header": { type: "string" },
			"allow-host": { type: "string", multiple: true }, "statement-timeout": { type: "string" }, help: { type: "boolean", short: "h" },
		},
	})
} catch (error) {
	fail((error as Error).message)
}
const { values, positionals } = parsed
if (values.help) {
	console.log(usage)
	process.exit(0)
}
if (positionals.length > 1) fail("one connection string is enough")

const host = values.host ?? process.env.DURABLE_UI_HOST ?? "127.0.0.1"
const port = Number(values.port ?? process.env.DURABLE_UI_PORT ?? process.env.PORT ?? 8484)
const timeout = Number(values["statement-timeout"] ?? 10)
if (!Number.isInteger(port) || port < 0 || port > 65535) fail("--port must be a number up to 65535")
if (!(timeout > 0)) fail("--statement-timeout must be a number of seconds")
const basicAuth = values["basic-auth"] ?? process.env.DURABLE_UI_BASIC_AUTH
if (basicAuth !== undefined && !/^[^:]+:.+/.test(basicAuth)) fail("--basic-auth must be USER:PASSWORD")
const basePath = "/" + (values["base-path"] ?? "").replace(/^\/+|\/+$/g, "")
const isLocal = ["127.0.0.1", "::1", "localhost"].includes(host)
const allowed = values["allow-host"] ?? []

const db = new Database(positionals[0] ?? process.env.DATABASE_URL, Math.round(timeout * 1000))
const { app, queries, live } = createApp(db, {
	readOnly: values["read-only"] ?? false,
	hidePayloads: values["hide-payloads"] ?? false,
	basePath,
	basicAuth,
	trustedHeader: values["trusted-header"],
	hosts: isLocal || allowed.length ? ["localhost", "127.0.0.1", "[::1]", ...allowed.map((name) => name.toLowerCase())] : null,
	client: fileURLToPath(new URL("../client", import.meta.url)),
})

const stopSampling = startSampling(db, queries)
const server = serve({ fetch: app.fetch, hostname: host, port }, (info) => {
	const name = info.family === "IPv6" ? `[${info.address}]` : info.address
	console.log(`Dashboard: http://${isLocal ? "localhost" : name}:${info.port}${basePath === "/" ? "/" : basePath + "/"}`)
	if (!isLocal && !basicAuth && !values["trusted-header"])
		console.error("Whoever reaches this address can do what the database role may: --basic-auth or --trusted-header asks who it is.")
})
server.on("error", (error: NodeJS.ErrnoException) => {
	console.error(error.code === "EADDRINUSE" ? `durable-ui: port ${port} is taken; try --port ${port + 1}` : `durable-ui: ${error.message}`)
	process.exit(1)
})

function stop(): void {
	stopSampling()
	live.close()
	server.close()
	if ("closeAllConnections" in server) server.closeAllConnections()
	void db.end().then(() => process.exit(0))
	setTimeout(() => process.exit(0), 2_000).unref()
}
process.on("SIGINT", stop)
process.on("SIGTERM", stop)
