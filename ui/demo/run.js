// Keeps a small shop busy, with the dashboard beside it, until Ctrl-C. The server is libpq's choice
// (PGHOST and its like), or the connection string that is given.

import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { handlers } from "./handlers.js"
import { Worker } from "./worker.js"

const connection = process.argv[2]
const pool = new pg.Pool({ connectionString: connection, max: 2 })
const call = (sql, values) => pool.query(sql, values)

await call("CREATE EXTENSION IF NOT EXISTS durable")
for (const [name, limits] of [
	["orders", "max_concurrency => 6"], ["mail", "max_concurrency => 10, rate_limit => 20"], ["imports", "max_concurrency => 2"], ["billing", ""],
])
	await call(`SELECT durable.create_queue($1, if_exists => 'keep'${limits && ", " + limits})`, [name])
for (const [name, cron, queue, handler] of [
	["heartbeat-report", "@every 1 minute", "orders", "report"], ["nightly-import", "30 2 * * mon-fri", "imports", "import"], ["month-end", "@monthly", "billing", "invoice"],
])
	await call("SELECT durable.create_schedule($1, $2, $3, handler => $4, timezone => 'Europe/Berlin', if_exists => 'keep')", [name, cron, queue, handler])

const workers = [
	new Worker({ connection, id: `shop-1.${process.pid}`, queues: ["orders", "mail"], handlers, concurrency: 6, version: "1.4.2" }),
	new Worker({ connection, id: `shop-2.${process.pid}`, queues: ["mail", "imports", "billing"], handlers, concurrency: 4, version: "1.4.2" }),
]
for (const worker of workers) void worker.run()

const items = ["book", "lamp", "chair", "kettle", "desk", "rug", "clock"]
const pick = (list) => list[Math.floor(Math.random() * list.length)]
let n = Math.floor(Date.now() / 1000) % 100_000
const start = (name, handler, queue, input, more = "") =>
	call(`SELECT durable.start($1, $2, $3, queue => $4${more})`, [name, JSON.stringify(input), handler, queue]).catch((error) => console.error(error.message))

const timers = [
	setInterval(() => {
		const item = pick(items)
		void start(`order-${n++}`, "order", "orders", { item, price: Math.ceil(Math.random() * 500), flaky: Math.random() < 0.15 ? Math.ceil(Math.random() * 6) : 0, call: Math.random() < 0.1 })
	}, 1_200),
	setInterval(() => void start(`invoice-${n++}`, "invoice", "billing", { customer: n, mended: Math.random() < 0.7 }), 15_000),
	setInterval(() => void start(`import-${n++}`, "import", "imports", { batches: 20 + Math.ceil(Math.random() * 40) }), 20_000),
]
void start(`import-${n++}`, "import", "imports", { batches: 60 })
void start(`invoice-${n++}`, "invoice", "billing", { customer: n })

const ui = spawn(process.execPath, [fileURLToPath(new URL("../bin/durable-ui.js", import.meta.url)), ...(connection ? [connection] : [])], {
	stdio: ["ignore", "inherit", "inherit"], env: { DURABLE_UI_PORT: "8484", ...process.env },
})
console.log("A small shop is at work, until Ctrl-C.")
ui.on("exit", (code) => code && stop())

async function stop() {
	for (const timer of timers) clearInterval(timer)
	ui.kill()
	await Promise.allSettled(workers.map((worker) => worker.stop()))
	await pool.end()
	process.exit(0)
}
process.on("SIGINT", stop)
process.on("SIGTERM", stop)
