// The database's privileges decide what is shown and what can be done.

import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { beforeEach, test } from "node:test"
import pg from "pg"
import { atEnd, clean, connectionTo, newDatabase, newPage, start, startUi, until } from "./lib.js"

const db = await newDatabase("ui_roles")
for (const role of ["ui_reader", "ui_nobody", "ui_operator", "ui_looker"]) {
	await db.query(`DO $$ BEGIN CREATE ROLE ${role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
}
atEnd(async () => {
	const admin = new pg.Client({ connectionString: connectionTo("postgres") })
	await admin.connect()
	await admin.query("DROP DATABASE IF EXISTS ui_roles WITH (FORCE)")
	await admin.query("DROP ROLE IF EXISTS ui_reader, ui_nobody, ui_operator, ui_looker")
	await admin.end()
})
await db.query("SELECT durable.grant_to('ui_reader', 'reader'), durable.grant_to('ui_operator', 'operator'), durable.grant_to('ui_looker', 'reader')")
await db.query("GRANT SELECT ON ALL TABLES IN SCHEMA durable TO ui_looker")
await db.query("SELECT durable.create_queue('work', max_concurrency => 3), durable.create_queue('naps'), durable.create_queue('shared', key_concurrency => 2, fair => true), durable.create_schedule('nightly', '@daily', 'work')")
const id = await start(db, "secret order", "h", "work", { card: "4000-1234" })
const failed = await db.one("SELECT workflow_id FROM durable.start('broken', executor_id => 'w')")
await db.query("SELECT durable.claim_step($1, 0, 'charge'), durable.fail(durable.step_id($1, 0), 'no money', retryable => false)", [failed]).catch(() => {})
await db.query("SELECT durable.fail($1, 'no money')", [failed])
const page = await newPage()
// nothing of the dashboard of the test before
beforeEach(async () => {
	await page.goto("about:blank")
	page.problems.length = 0
})

const changing = /^(Pause|Resume|Resume failed|Cancel|Fork|Signal|Answer|Set timeout|Release|Drop|Edit|Edit limits|Trigger|Backfill|New queue|New schedule|Run check|.* all…|Resume failed: all…)$/
async function noButtons(ui) {
	for (const path of ["", "workflows", "workflows?view=failed", `workflows/${id}`, `workflows/${failed}`, "queues", "schedules", "executors"]) {
		await page.goto(ui.url + path)
		await page.locator("h1").waitFor()
		await page.locator(".skeleton").waitFor({ state: "detached" })
		const names = await page.getByRole("button").allInnerTexts()
		assert.deepEqual(names.filter((name) => changing.test(name)), [], path)
	}
}

test("a reader sees the work, and no buttons", async () => {
	const ui = await startUi(connectionTo("ui_roles", "ui_reader"))
	await noButtons(ui)
	await page.goto(`${ui.url}workflows/${id}`)
	await page.getByText("4000-1234").waitFor()
	await page.goto(`${ui.url}workflows`)
	await page.getByRole("link", { name: "secret order" }).waitFor()
	await page.goto(`${ui.url}queues`)
	await page.getByRole("row").filter({ hasText: "work" }).getByText("3 at once").waitFor()
	await page.goto(`${ui.url}schedules`)
	await page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "nightly" }) }).getByText("@daily").waitFor()
	clean(page)
	for (const [name, args] of [["cancel", { workflow_id: id }], ["pause", { workflow_id: id }], ["signal", { workflow_id: id, name: "x" }], ["pause_queue", { name: "work" }]])
		assert.equal((await ui.post(`api/actions/${name}`, args)).status, 403)
	assert.equal((await ui.post("api/check", {})).status, 403)
	assert.equal(await db.one("SELECT durable.status($1)", [id]), "PENDING")
	page.problems.length = 0
	await ui.stop()
})

test("a reader sees executors, what they drive, what is stuck, what is suspended", async () => {
	const driven = await db.one("SELECT workflow_id FROM durable.start('driven one', executor_id => 'dead worker')")
	await db.query("SELECT durable.claim_step($1, 0, 'flaky', max_retries => 9, backoff => '1 us')", [driven])
	await db.query("UPDATE durable.executor SET last_seen = last_seen - interval '1 h' WHERE executor_id = 'dead worker'")
	await start(db, "patient one", "h", "naps")
	const [napping] = await db.query("SELECT workflow_id, lease FROM durable.claim('naps', 'napper')")
	await db.query("SELECT durable.sleep($1, 0, 'nap', '1 day')", [napping.workflow_id])
	await db.query("SELECT durable.suspend($1, 'napper', $2, ARRAY[durable.step_id($1, 0)])", [napping.workflow_id, napping.lease])
	const ui = await startUi(connectionTo("ui_roles", "ui_reader"))
	await page.goto(`${ui.url}executors`)
	const dead = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "dead worker" }) })
	await dead.getByText("silent").waitFor()
	await page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "napper" }) }).getByText("alive").waitFor()
	await dead.getByRole("link", { name: "1", exact: true }).click()
	await page.getByText("What executor dead worker drives").waitFor()
	const rows = page.locator("tbody th").getByRole("link")
	await rows.getByText("driven one").waitFor()
	assert.deepEqual(await rows.allInnerTexts(), ["driven one"])
	await page.goto(`${ui.url}workflows?view=stuck`)
	await page.getByRole("row").filter({ hasText: "driven one" }).getByText("stale: its executor is silent").waitFor()
	assert.deepEqual(await rows.allInnerTexts(), ["driven one"])
	await page.goto(`${ui.url}workflows?view=suspended`)
	await rows.getByText("patient one").waitFor()
	assert.deepEqual(await rows.allInnerTexts(), ["patient one"])
	await page.goto(ui.url)
	await page.getByText("Executor dead worker is silent: 1 workflow stands still").waitFor()
	await page.getByRole("region", { name: "Next by schedule" }).getByText("nightly").waitFor()
	await page.getByRole("region", { name: "Failures lately" }).getByText("broken").waitFor()
	await page.goto(`${ui.url}workflows/${driven}`)
	await page.getByText("Nobody drives it: executor dead worker is silent").waitFor()
	await page.goto(`${ui.url}queues`)
	await page.getByRole("row").filter({ hasText: "shared" }).getByText("2 of a key, fair").waitFor()
	assert.equal(await page.getByText("GRANT").count(), 0)
	await db.query("SELECT durable.cancel_tree(id) FROM unnest($1::uuid[]) id", [[driven, napping.workflow_id]])
	clean(page)
	await ui.stop()
})

test("a reader who may read the tables sees all, and no buttons", async () => {
	const ui = await startUi(connectionTo("ui_roles", "ui_looker"))
	await noButtons(ui)
	await page.goto(`${ui.url}schedules`)
	await page.getByRole("rowheader", { name: "nightly" }).waitFor()
	await page.goto(`${ui.url}executors`)
	await page.getByRole("rowheader", { name: "w", exact: true }).waitFor()
	await page.goto(`${ui.url}workflows?view=stuck`)
	await page.getByText("Nothing is stuck.").waitFor()
	clean(page)
	await ui.stop()
})

test("an operator has the buttons; a grant that is taken away takes them away", async () => {
	const ui = await startUi(connectionTo("ui_roles", "ui_operator"))
	await page.goto(`${ui.url}workflows/${failed}`)
	await page.getByRole("button", { name: "Resume failed" }).waitFor()
	await page.goto(`${ui.url}workflows/${id}`)
	await page.getByRole("button", { name: "Pause" }).waitFor()
	await db.query("SELECT durable.revoke_from('ui_operator', 'client')")
	await page.getByRole("button", { name: "Pause" }).waitFor({ state: "detached", timeout: 30_000 })
	await page.getByText("4000-1234").waitFor()
	clean(page)
	await ui.stop()
})

test("a role without anything is told what it needs, and gets it without a restart", async () => {
	const ui = await startUi(connectionTo("ui_roles", "ui_nobody"))
	await page.goto(ui.url)
	await page.getByRole("alert").getByText('Role "ui_nobody" may not look').waitFor()
	await page.getByText("SELECT durable.grant_to('ui_nobody', 'reader');").waitFor()
	assert.equal((await ui.get(`api/tasks/${id}`)).status, 403)
	await db.query("SELECT durable.grant_to('ui_nobody', 'reader')")
	await page.getByRole("heading", { name: "Queues" }).waitFor({ timeout: 30_000 })
	page.problems.length = 0
	await ui.stop()
})

test("a database without the extension, until it has it", async () => {
	const bare = await newDatabase("ui_bare", { extension: false })
	const ui = await startUi(bare.connection)
	await page.goto(`${ui.url}workflows`)
	await page.getByRole("alert").getByText('Database "ui_bare" does not have the extension durable.').waitFor()
	await page.getByText("CREATE EXTENSION durable;").waitFor()
	await bare.query("CREATE EXTENSION durable")
	await page.getByText("There is no workflow yet.").waitFor({ timeout: 30_000 })
	await bare.query("DROP EXTENSION durable CASCADE")
	await page.getByText("does not have the extension durable").waitFor({ timeout: 30_000 })
	page.problems.length = 0
	await ui.stop()
})

test("a database that is not there", async () => {
	const ui = await startUi(connectionTo("ui_not_there"))
	await page.goto(ui.url)
	await page.getByRole("alert").getByText('database "ui_not_there" does not exist').first().waitFor()
	assert.equal((await ui.get("healthz")).status, 503)
	page.problems.length = 0
	await ui.stop()
})

test("--read-only: no buttons, whatever the role may do", async () => {
	const ui = await startUi(db.connection, "--read-only")
	await noButtons(ui)
	await page.getByText("read-only").waitFor()
	for (const [name, args] of [["cancel", { workflow_id: id }], ["drop_queue", { name: "work" }]]) assert.equal((await ui.post(`api/actions/${name}`, args)).status, 403)
	assert.equal((await ui.post("api/bulk/cancel", { filter: "queue=work" })).status, 403)
	clean(page)
	await ui.stop()
})

test("--hide-payloads: nothing of them leaves the server", async () => {
	const event = await db.one("SELECT workflow_id FROM durable.start('talks', '{\"s\": \"hush-hush\"}', executor_id => 'w')")
	await db.query("SELECT durable.emit($1, 't', '\"hush-hush\"'), durable.claim_step($1, 0, 's', '\"hush-hush\"')", [event])
	await db.query("SELECT durable.complete(durable.step_id($1, 0), '\"hush-hush\"')", [event])
	await db.query("SELECT durable.alter_schedule('nightly', '@daily', 'work', input => '\"hush-hush\"')")
	const ui = await startUi(db.connection, "--hide-payloads")
	for (const path of [`workflows/${event}`, `workflows/${event}/steps`, `workflows/${event}/events`, `tasks/${event}`, `tasks/${event.slice(0, -1)}1`, "workflows", "overview", "schedules"]) {
		const answer = await ui.get(`api/${path}`)
		assert.equal(answer.status, 200, path)
		assert.doesNotMatch(await answer.text(), /hush-hush/, path)
	}
	await page.goto(`${ui.url}workflows/${event}`)
	await page.getByText("Hidden: the dashboard runs with --hide-payloads.").waitFor()
	clean(page)
	await ui.stop()
})

test("a server that goes away and comes back", async () => {
	// one of its own: that of the other tests stays
	const data = join(process.env.HOME ?? "/tmp", `ui-restart-${process.pid}`)
	const asOwner = process.getuid?.() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] : []
	const run = (...command) => execFileSync((asOwner.length ? asOwner : command)[0], [...(asOwner.length ? asOwner.slice(1) : []), ...(asOwner.length ? command : command.slice(1))], { stdio: "pipe" })
	if (!process.env.TEMP_CONFIG || !existsSync(process.env.TEMP_CONFIG)) return
	const socket = process.env.PGHOST
	run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
	const up = () => run("pg_ctl", "-D", data, "-w", "-l", `${data}.log`, "-o", `-c config_file=${data}/postgresql.conf -p 5499 -k ${socket} -c listen_addresses='' -c fsync=off`, "start")
	const down = () => run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
	run("bash", "-c", `echo "include '${process.env.TEMP_CONFIG}'" >> ${data}/postgresql.conf`)
	up()
	atEnd(() => {
		down()
		run("rm", "-rf", data, `${data}.log`)
	})
	const connection = `postgres://postgres@/postgres?host=${encodeURIComponent(socket)}&port=5499`
	const client = new pg.Client({ connectionString: connection })
	client.on("error", () => {})
	await client.connect()
	await client.query("CREATE EXTENSION durable")
	await client.query("SELECT durable.start('still here', executor_id => 'w')")
	const ui = await startUi(connection)
	await page.goto(`${ui.url}workflows`)
	const link = page.getByRole("link", { name: "still here" })
	await link.waitFor()
	down()
	await page.getByRole("alert").getByText("The database does not answer").waitFor({ timeout: 30_000 })
	// what was seen last is still there, and marked
	await link.waitFor()
	await page.locator(".stale").waitFor()
	assert.equal((await ui.get("healthz")).status, 503)
	up()
	await page.getByRole("alert").waitFor({ state: "detached", timeout: 30_000 })
	await until("it is well", async () => (await ui.get("healthz")).status === 200)
	await link.waitFor()
	page.problems.length = 0
	await ui.stop()
})

test("the dashboard's own server goes away and comes back", async () => {
	const first = await startUi(db.connection)
	await page.goto(`${first.url}workflows`)
	await page.getByRole("link", { name: "secret order" }).waitFor()
	const port = new URL(first.url).port
	await first.stop()
	await page.getByText("The dashboard's server does not answer.").first().waitFor({ timeout: 30_000 })
	await startUi(db.connection, "--port", port)
	await page.getByRole("alert").first().waitFor({ state: "detached", timeout: 30_000 })
	await page.getByRole("link", { name: "secret order" }).waitFor()
	page.problems.length = 0
})
