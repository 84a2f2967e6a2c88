// Much, long and hostile: what is shown stays quick, whole and harmless.

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { beforeEach, test } from "node:test"
import { clean, connectionTo, newDatabase, newPage, start, startUi, until } from "./lib.js"

const db = await newDatabase("ui_large")
await db.query("SELECT durable.create_queue('work')")
const ui = await startUi(db.connection)
const page = await newPage()
beforeEach(async () => {
	await page.goto("about:blank")
	page.problems.length = 0
})

/** Scrolls to the end in so many moves; how long a picture takes, and whether each showed rows. */
const scroll = (list) => list.evaluate(async (box) => {
	const times = []
	let empty = 0
	let last = performance.now()
	const moves = 40
	for (let i = 1; i <= moves; i++) {
		box.scrollTop = (box.scrollHeight * i) / moves
		await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))
		const now = performance.now()
		times.push(now - last)
		last = now
		if (!box.querySelector("[role=listitem]")) empty++
	}
	return { picture: times.sort((a, b) => a - b)[moves / 2], empty, rows: box.querySelectorAll("[role=listitem]").length, last: box.querySelector("[role=listitem]:last-child")?.textContent }
})

test("a workflow of 10,000 steps", async () => {
	const id = await db.one("SELECT workflow_id FROM durable.start('long one', executor_id => 'w')")
	for (let i = 0; i < 10; i++) {
		await db.query("SELECT durable.claim_steps($1, $2, ARRAY(SELECT 'step ' || n FROM generate_series($2::int, $2::int + 999) n))", [id, i * 1000])
		await db.query("SELECT durable.complete_many(ARRAY(SELECT durable.step_id($1, n) FROM generate_series($2::int, $2::int + 999) n), ARRAY(SELECT to_jsonb(n) FROM generate_series($2::int, $2::int + 999) n))", [id, i * 1000])
	}
	await page.goto(`${ui.url}workflows/${id}`)
	const steps = page.getByRole("list", { name: "Steps" })
	await steps.getByRole("link", { name: "step 7", exact: false }).first().waitFor()
	await page.getByText("10,000 steps").waitFor()
	const seen = await scroll(steps)
	assert.equal(seen.empty, 0)
	assert.ok(seen.rows < 100, `${seen.rows} rows are in the page`)
	assert.match(seen.last, /step 9999/)
	assert.ok(seen.picture < 250, `a picture takes ${seen.picture} ms`)
	await page.getByLabel("Search steps").fill("step 9998")
	await page.getByText("1 of 10,000 steps").waitFor()
	await steps.getByRole("link", { name: "step 9998" }).click()
	await page.getByRole("complementary", { name: "Step 9998" }).getByText("9998", { exact: true }).first().waitFor()
	await page.getByRole("tab", { name: "Timeline" }).click()
	assert.equal((await scroll(page.getByRole("list", { name: "Timeline" }))).empty, 0)
	// a step more is a step more, not all of them anew
	page.asked = []
	await db.query("SELECT durable.claim_step($1, 10000, 'one more')", [id])
	await page.getByRole("tab", { name: "History" }).click()
	await page.getByText("10,001 steps").waitFor()
	assert.ok(page.asked.filter((url) => url.includes("/steps?")).every((url) => url.endsWith("from=10000")))
	clean(page)
})

test("a tree of 5,000 children", async () => {
	const id = await db.one("SELECT workflow_id FROM durable.start('broad one', executor_id => 'w')")
	await db.query(`SELECT count(c.*) FROM generate_series(0, 4999) n CROSS JOIN LATERAL durable.start_child($1, n, 'child ' || n, queue => 'work') c`, [id])
	await page.goto(`${ui.url}workflows/${id}?tab=tree`)
	const tree = page.getByRole("list", { name: "Tree" })
	await tree.getByRole("link", { name: "child 0", exact: true }).waitFor()
	const seen = await scroll(tree)
	assert.equal(seen.empty, 0)
	assert.ok(seen.rows < 100)
	assert.match(seen.last, /child 4999/)
	assert.ok(seen.picture < 250, `a picture takes ${seen.picture} ms`)
	await tree.getByRole("button", { name: "Unfold child 4999" }).click()
	await tree.getByText("no step yet").waitFor()
	await page.getByRole("tab", { name: "Tree" }).getByText("5,000").waitFor()
	await db.query("SELECT durable.cancel_tree($1)", [id])
	await page.locator(".title").getByText("cancelled").waitFor()
	clean(page)
})

test("names and payloads of a hostile kind", async () => {
	const markup = `<img src=x onerror="window.owned=1"><script>window.owned=1</script>'"&amp;`
	const bidi = "user\u202Egnp.exe\u2066 \u200Fשלום"
	const ids = []
	for (const name of [markup, bidi, "x".repeat(1000), "日本語".repeat(50), "%00/../..?a=b#c"]) {
		const id = await start(db, name, name.slice(0, 300), "work", { [name]: name, list: [markup, bidi] })
		await db.query("SELECT durable.claim('work', $1, 1)", [name.slice(0, 300)])
		ids.push(id)
	}
	await db.query("SELECT durable.cancel_tree(id) FROM durable.workflow WHERE status = 'RUNNING' AND NOT id = ANY($1)", [ids])
	for (const id of ids) {
		await db.query("SELECT durable.claim_step($1, 0, $2), durable.emit($1, $2, to_jsonb($2::text))", [id, markup])
		await db.query("SELECT durable.fail(durable.step_id($1, 0), $2, retryable => false)", [id, markup + "\n" + bidi])
		await db.query("SELECT durable.fail($1, $2)", [id, bidi + markup])
	}
	await db.query("SELECT durable.create_queue($1)", [markup])
	await db.query("SELECT durable.create_schedule($1, '@daily', 'work', handler => $2)", [markup, bidi])
	for (const path of ["", "workflows", "workflows?view=failed", "queues", "schedules", "executors", ...ids.flatMap((id) => [`workflows/${id}?step=0`, `workflows/${id}?tab=events`, `workflows/${id}?tab=timeline`, `workflows/${id}?tab=tree`])]) {
		await page.goto(ui.url + path)
		await page.locator(".skeleton").waitFor({ state: "detached" })
		assert.equal(await page.evaluate(() => window.owned), undefined, path)
		assert.equal(await page.locator("main img").count(), 0, path)
		assert.deepEqual(await page.evaluate(() => (document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => `${one.tagName} ${one.className}`).slice(0, 5))), [], path)
	}
	await page.goto(`${ui.url}workflows/${ids[0]}`)
	await page.locator(".title h1").waitFor()
	assert.equal(await page.locator("h1").innerText(), markup)
	await page.goto(`${ui.url}workflows?name=${encodeURIComponent(bidi)}`)
	await page.locator("tbody th").getByRole("link").first().click()
	await page.locator(".title h1").waitFor()
	assert.equal(await page.locator("h1").textContent(), bidi)
	// each stands by itself: what follows keeps its place
	assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector("h1 bdi")).unicodeBidi), "isolate")
	// a name that would end a literal ends none
	await page.goto(`${ui.url}queues`)
	const row = page.getByRole("row").filter({ hasText: "onerror" })
	await row.getByRole("button", { name: "Pause" }).click()
	await until("it is paused", () => db.one("SELECT paused FROM durable.queue WHERE name = $1", [markup]))
	const sql = await page.locator(".message .sql code").first().innerText()
	await row.getByRole("button", { name: "Resume" }).waitFor()
	await db.query(sql.replace("pause_queue", "resume_queue"))
	assert.equal(await db.one("SELECT paused FROM durable.queue WHERE name = $1", [markup]), false)
	clean(page)
})

test("a payload of a megabyte, an error of a megabyte", async () => {
	const id = await db.one(`SELECT workflow_id FROM durable.start('heavy', jsonb_build_object('text', repeat('m', 1000000), 'list', (SELECT jsonb_agg(n) FROM generate_series(1, 20000) n)), executor_id => 'w')`)
	await db.query("SELECT durable.claim_step($1, 0, 'big'), durable.complete(durable.step_id($1, 0), to_jsonb(repeat('o', 1000000)))", [id]).catch(async () => {
		await db.query("SELECT durable.complete(durable.step_id($1, 0), to_jsonb(repeat('o', 1000000)))", [id])
	})
	await db.query("SELECT durable.fail($1, repeat('e', 1000000))", [id])
	const began = Date.now()
	await page.goto(`${ui.url}workflows/${id}`)
	const input = page.getByRole("group", { name: "Input" })
	await input.getByText("999,600 more characters").waitFor()
	await page.getByRole("link", { name: "big" }).waitFor()
	assert.ok(Date.now() - began < 15_000)
	assert.ok((await page.locator("body").innerText()).length < 10_000)
	await input.getByRole("button", { name: "Unfold list" }).click()
	await input.getByRole("button", { name: "19,900 more" }).waitFor()
	// neither the list nor the page's news carry it
	for (const path of ["workflows", `workflows/${id}`, `workflows/${id}/steps`, "overview"]) assert.ok((await (await ui.get(`api/${path}`)).text()).length < 100_000, path)
	clean(page)
})

test("pages read by index what may be millions", async () => {
	const log = join(process.env.PGHOST, "server.log")
	await db.query("SELECT durable.start_many(ARRAY(SELECT 'bulk ' || i || ' ' || j FROM generate_series(1, 1000) i), queue => 'work', handler => 'h') FROM generate_series(1, 15) j")
	await db.query("VACUUM ANALYZE")
	await db.query("ALTER ROLE postgres IN DATABASE ui_large SET session_preload_libraries = 'auto_explain'")
	for (const [name, value] of [["log_min_duration", "0"], ["log_nested_statements", "on"], ["log_analyze", "off"]]) await db.query(`ALTER ROLE postgres IN DATABASE ui_large SET auto_explain.${name} = '${value}'`)
	const from = readFileSync(log).length
	const watched = await startUi(connectionTo("ui_large"))
	const some = await db.one("SELECT id FROM durable.workflow WHERE name = 'bulk 500 7'")
	const paths = ["workflows", "workflows?status=PENDING", "workflows?view=failed", "workflows?view=stuck", "workflows?view=waiting", "workflows?view=suspended", "workflows?queue=work", "workflows?handler=h",
		"workflows?name=bulk%20500%207", `workflows?after=${some}`, `workflows?before=${some}`, "queues", "executors", "schedules", `workflows/${some}`, `workflows/${some}/steps`, `workflows/${some}/events`, `tasks/${some}`, "overview"]
	for (const path of paths) {
		const began = Date.now()
		const answer = await watched.get(`api/${path}`)
		assert.equal(answer.status, 200, path)
		await answer.text()
		// within 100 ms where the machine is ours alone
		assert.ok(Date.now() - began < 4_000, `${path} took ${Date.now() - began} ms`)
	}
	await watched.stop()
	await db.query("ALTER ROLE postgres IN DATABASE ui_large RESET ALL")
	const text = readFileSync(log).subarray(from).toString()
	assert.match(text, /Query Text: .*durable\.list/)
	// what is counted up to 2,000 may be read as it lies; check() reads all
	const plans = text.split(/Query Text: /).slice(1).filter((plan) => !/held AS MATERIALIZED|durable\.all_below|durable\.check/.test(plan))
	assert.ok(plans.length > 50)
	for (const plan of plans)
		for (const [line] of plan.matchAll(/Seq Scan on (durable\.)?(workflow|step|event|signal|open_wait|ended|unsuccessful|pending|prioritized|driven|suspended|deadline|active_root)\b.*/g))
			assert.fail(`${line}\n${plan.slice(0, 3000)}`)
	clean(page)
})
