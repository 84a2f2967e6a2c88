// Who may ask, and what can be asked.

import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { networkInterfaces } from "node:os"
import { connect } from "node:net"
import { request } from "node:http"
import { join } from "node:path"
import { test } from "node:test"
import { bin, clean, connectionTo, newDatabase, newPage, start, startUi, until } from "./lib.js"

const db = await newDatabase("ui_security")
await db.query("SELECT durable.create_queue('work')")
const ui = await startUi(db.connection)
const page = await newPage()
const id = await start(db, "order", "h", "work")
const port = Number(new URL(ui.url).port)

/** fetch sets some headers itself */
const raw = (path, { method = "GET", headers = {}, body } = {}) => new Promise((resolve, reject) => {
	const asked = request({ host: "127.0.0.1", port, path, method, headers }, (answer) => {
		let text = ""
		answer.on("data", (chunk) => (text += chunk))
		answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text }))
	})
	asked.on("error", reject)
	asked.end(body)
})
const reaches = (host) => new Promise((resolve) => {
	const socket = connect({ host, port, timeout: 1000 }, () => (socket.destroy(), resolve(true)))
	socket.on("error", () => resolve(false))
	socket.on("timeout", () => (socket.destroy(), resolve(false)))
})

test("it listens on localhost unless told otherwise", async () => {
	assert.equal(await reaches("127.0.0.1"), true)
	const others = Object.values(networkInterfaces()).flat().filter((one) => one.family === "IPv4" && !one.internal)
	for (const one of others) assert.equal(await reaches(one.address), false, one.address)
	assert.equal(await reaches("127.0.0.2"), false)
})

test("a stranger's name that points here gets nothing", async () => {
	const answer = await raw("/api/overview", { headers: { host: `evil.example:${port}` } })
	assert.equal(answer.status, 403)
	assert.doesNotMatch(answer.text, /queues/)
	const named = await startUi(db.connection, "--allow-host", "dash.example")
	const namedPort = new URL(named.url).port
	const ok = await new Promise((resolve) => request({ host: "127.0.0.1", port: namedPort, path: "/api/session", headers: { host: "dash.example" } }, resolve).end())
	assert.equal(ok.statusCode, 200)
	await named.stop()
})

test("what changes something must come from the dashboard's own pages", async () => {
	const body = JSON.stringify({ workflow_id: id })
	const path = "/api/actions/cancel"
	const ours = { "content-type": "application/json", "x-durable-ui": "1", host: `localhost:${port}` }
	const tries = {
		"a form": { ...ours, "content-type": "application/x-www-form-urlencoded" },
		"text without a preflight": { ...ours, "content-type": "text/plain" },
		"no header": { ...ours, "x-durable-ui": "" },
		"another origin": { ...ours, origin: "https://evil.example" },
		"no origin": { ...ours, origin: "null" },
		"another site": { ...ours, "sec-fetch-site": "cross-site" },
		"a sibling": { ...ours, "sec-fetch-site": "same-site" },
	}
	for (const [what, headers] of Object.entries(tries)) assert.equal((await raw(path, { method: "POST", headers, body })).status, 403, what)
	for (const method of ["PUT", "DELETE", "PATCH"]) assert.ok((await raw(path, { method, headers: tries["another origin"] })).status >= 403, method)
	assert.equal((await raw(`${path}?workflow_id=${id}`)).status, 404)
	assert.equal((await raw(path, { method: "OPTIONS", headers: { host: `localhost:${port}`, origin: "https://evil.example", "access-control-request-method": "POST" } })).headers["access-control-allow-origin"], undefined)
	assert.equal(await db.one("SELECT durable.status($1)", [id]), "PENDING")
})

test("the policy forbids scripts and styles in the page, and all that is elsewhere", async () => {
	const { headers } = await raw("/", { headers: { host: "localhost" } })
	const policy = headers["content-security-policy"]
	for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]) assert.ok(policy.includes(part), part)
	assert.doesNotMatch(policy, /unsafe|\*/)
	assert.equal(headers["x-content-type-options"], "nosniff")
	assert.equal(headers["x-frame-options"], "DENY")
	assert.equal(headers["referrer-policy"], "no-referrer")
	// every page works under it, and asks nobody else
	page.asked = []
	for (const path of ["", "workflows", `workflows/${id}`, `workflows/${id}?tab=timeline`, "queues", "schedules", "executors"]) {
		await page.goto(ui.url + path)
		await page.locator("h1").waitFor()
		await page.locator(".skeleton").waitFor({ state: "detached" })
	}
	assert.ok(page.asked.length > 10)
	assert.deepEqual(page.asked.filter((url) => !url.startsWith(ui.url)), [])
	clean(page)
	// a script that somebody puts into the page does not run
	await page.evaluate(() => {
		const script = document.createElement("script")
		script.textContent = "window.owned = true"
		document.body.append(script)
	})
	assert.equal(await page.evaluate(() => window.owned), undefined)
	page.problems.length = 0
})

test("named actions only: no SQL, no other function, no other argument", async () => {
	const refused = async (name, args, status) => {
		const answer = await ui.post(`api/actions/${name}`, args)
		assert.equal(answer.status, status, `${name} ${JSON.stringify(args)}: ${await answer.text()}`)
	}
	for (const name of ["purge", "grant_to", "pg_sleep", "cancel_tree", "cancel_tree(", "constructor", "__proto__", "toString", "query", "sql"]) await refused(name, {}, 404)
	await refused("cancel", { workflow_id: id, "x => 1) --": 1 }, 400)
	await refused("cancel", { workflow_id: id, executor_id: "e" }, 400)
	await refused("cancel", { workflow_id: `${id}'); DROP TABLE durable.workflow; --` }, 400)
	await refused("cancel", { workflow_id: [id] }, 400)
	await refused("resume_failed", { workflow_id: id, from_sequence: "0; SELECT 1" }, 400)
	await refused("set_timeout", { task_id: id, timeout: "'1 day'); SELECT pg_sleep(1)" }, 409)
	await refused("pause_queue", { name: "'); DROP TABLE durable.queue; --" }, 409)
	for (const path of ["workflows?status=FAILED' OR true", "workflows?after=x", "workflows?from=x", `workflows/${id}'--`, "tasks/1 OR 1=1", "workflows?view=__proto__"])
		assert.ok([200, 400, 404].includes((await ui.get(`api/${path}`)).status), path)
	assert.equal((await ui.get(`api/workflows?name=${encodeURIComponent("x' OR name LIKE '%")}`)).status, 200)
	assert.equal((await (await ui.get(`api/workflows?name=${encodeURIComponent("x' OR name LIKE '%")}`)).json()).rows.length, 0)
	assert.equal((await ui.post("api/actions/cancel", "[1]")).status, 400)
	assert.equal((await ui.post("api/actions/cancel", "{")).status, 400)
	assert.equal(await db.one("SELECT durable.status($1)", [id]), "PENDING")
})

test("no file but the built ones", async () => {
	for (const path of ["/assets/../../server/main.js", "/assets/%2e%2e/%2e%2e/package.json", "/assets/..%2f..%2f..%2fpackage.json", "/assets/%00", "/..%2f..%2fetc/passwd"]) {
		const { text } = await raw(path, { headers: { host: "localhost" } })
		assert.doesNotMatch(text, /createApp|devDependencies|root:/, path)
	}
})

test("looking is done in transactions that cannot write", async () => {
	await db.query("CREATE TABLE public.touched (x int)")
	await db.query("CREATE FUNCTION public.touch() RETURNS int LANGUAGE sql AS 'INSERT INTO public.touched VALUES (1) RETURNING x'")
	const view = (await db.one("SELECT pg_get_viewdef('durable.waiting'::regclass)")).replace(/;$/, "")
	await db.query(`CREATE OR REPLACE VIEW durable.waiting AS SELECT w.* FROM (SELECT public.touch() AS t OFFSET 0) t LEFT JOIN (${view}) w ON w.sequence = t.t`)
	const { problem } = await (await ui.get("api/workflows?view=waiting")).json()
	await db.query(`CREATE OR REPLACE VIEW durable.waiting AS ${view}`)
	assert.equal(problem.code, "25006")
	assert.equal(await db.one("SELECT count(*) FROM public.touched"), 0)
})

test("a statement that takes too long is ended", async () => {
	const quick = await startUi(db.connection, "--statement-timeout", "0.5")
	await db.query("BEGIN; SELECT 1; COMMIT")
	const client = await db.pool.connect()
	await client.query("BEGIN")
	await client.query("LOCK TABLE durable.workflow IN ACCESS EXCLUSIVE MODE")
	try {
		const began = Date.now()
		const answer = await quick.get("api/workflows")
		assert.equal(answer.status, 504)
		assert.match((await answer.json()).problem.hint, /--statement-timeout/)
		const action = await quick.post("api/actions/cancel", { workflow_id: id })
		assert.equal(action.status, 504)
		assert.ok(Date.now() - began < 5_000)
	} finally {
		await client.query("ROLLBACK")
		client.release()
	}
	await until("it answers again", async () => (await quick.get("api/workflows")).status === 200)
	await quick.stop()
})

test("--basic-auth asks who it is, for all but the health check", async () => {
	const asks = await startUi(db.connection, { env: { DURABLE_UI_BASIC_AUTH: "ann:s:e:c" } })
	const basic = (text) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` })
	for (const path of ["", "api/session", "api/live?path=/overview", "metrics", "assets/x.js"]) assert.equal((await asks.get(path)).status, 401, path)
	assert.equal((await asks.get("api/session", basic("ann:wrong"))).status, 401)
	assert.equal((await asks.get("api/session", basic("ann"))).status, 401)
	assert.equal((await asks.get("api/session", basic("ann:s:e:c"))).status, 200)
	assert.equal((await asks.post("api/actions/cancel", { workflow_id: id })).status, 401)
	assert.equal((await asks.get("healthz")).status, 200)
	await asks.stop()
})

test("--trusted-header: only what the proxy lets through, and the page says who", async () => {
	const behind = await startUi(db.connection, "--trusted-header", "X-Forwarded-User")
	assert.equal((await behind.get("api/session")).status, 401)
	const answer = await (await behind.get("api/session", { "x-forwarded-user": "ann" })).json()
	assert.equal(answer.user, "ann")
	await behind.stop()
})

test("--base-path", async () => {
	const below = await startUi(db.connection, "--base-path", "/ops/durable/")
	assert.match(below.url, /\/ops\/durable\/$/)
	await page.goto(`${below.url}workflows`)
	await page.getByRole("link", { name: "order", exact: true }).click()
	await page.waitForURL(`${below.url}workflows/${id}`)
	await page.getByRole("heading", { name: "order" }).waitFor()
	await page.reload()
	await page.getByRole("heading", { name: "order" }).waitFor()
	assert.equal((await fetch(new URL("/", below.url))).status, 404)
	clean(page)
	await below.stop()
})

test("a password in the connection string is never shown", async () => {
	const secret = await startUi(`postgres://postgres:hunter2@/nowhere?host=${encodeURIComponent(process.env.PGHOST)}`)
	for (const path of ["", "api/session", "api/overview", "healthz"]) assert.doesNotMatch(await (await secret.get(path)).text(), /hunter2/)
	await secret.stop()
})

test("bad options are told, and nothing is started", () => {
	for (const args of [["--port", "x"], ["--nonsense"], ["--basic-auth", "nocolon"], ["--statement-timeout", "-1"], ["a", "b"]]) {
		const { status, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: "utf8", timeout: 10_000 })
		assert.equal(status, 2, args.join(" "))
		assert.match(stderr, /Usage/)
	}
	assert.match(spawnSync(process.execPath, [bin, "--help"], { encoding: "utf8" }).stdout, /Usage/)
	const { status, stderr } = spawnSync(process.execPath, [bin, "--port", String(port), connectionTo("ui_security")], { encoding: "utf8", timeout: 10_000 })
	assert.equal(status, 1)
	assert.match(stderr, /port \d+ is taken/)
})

test("what it sets lasts for a transaction: a pooler's next user finds nothing of it", async () => {
	const log = join(process.env.PGHOST, "server.log")
	await db.query("ALTER ROLE postgres IN DATABASE ui_security SET log_statement = 'all'")
	const from = readFileSync(log).length
	const watched = await startUi(db.connection)
	for (const path of ["overview", "workflows", "queues", "executors", "schedules", `workflows/${id}`]) assert.equal((await watched.get(`api/${path}`)).status, 200, path)
	assert.equal((await watched.post("api/actions/pause_queue", { name: "work" })).status, 200)
	await watched.post("api/check", {})
	await until("it has checked", async () => (await (await watched.get("api/check")).json()).state === "done")
	await watched.stop()
	await db.query("ALTER ROLE postgres IN DATABASE ui_security RESET log_statement")
	await db.query("SELECT durable.resume_queue('work')")
	const text = readFileSync(log).subarray(from).toString()
	assert.match(text, /BEGIN; SET LOCAL statement_timeout/)
	assert.deepEqual(text.match(/(?<!ALTER ROLE .*)\bSET (?!LOCAL |TRANSACTION )\w+.*/g), null)
})
