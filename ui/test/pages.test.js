// What the pages show, and that they follow what happens.

import assert from "node:assert/strict"
import { beforeEach, test } from "node:test"
import { clean, newDatabase, newPage, newWorker, start, startUi, until } from "./lib.js"

const db = await newDatabase("ui_pages")
await db.query("SELECT durable.create_queue(q) FROM unnest('{orders,mail,patient}'::text[]) q")
const handlers = {
	async order(c) {
		await c.step("reserve", () => ({ shelf: 12 }))
		let tries = 0
		await c.step("charge", () => {
			if (!tries++) throw new Error("card service: timeout")
			return { receipt: "R-1" }
		}, { retries: 3, backoff: "0.1 s" })
		await c.emit("progress", { charged: true })
		const mail = await c.child(`mail for ${c.name}`, "mail", null, "mail")
		await c.all([mail])
		return { done: true }
	},
	async mail(c) {
		await c.step("send", () => "sent")
	},
	async talk(c) {
		for (let i = 1; i <= 600; i++) {
			await c.emit("count", { i })
			await new Promise((resolve) => setTimeout(resolve, 100))
		}
	},
	async nap(c) {
		await c.sleep("long sleep", "1 h")
	},
}
newWorker(db, "worker-1", ["orders", "mail"], handlers, { concurrency: 8, version: "1.2.3" })
const ui = await startUi(db.connection)
const page = await newPage()
const done = (id) => until("it is done", async () => (await db.one("SELECT durable.status($1)", [id])) === "COMPLETED")
beforeEach(async () => {
	await page.goto("about:blank")
	page.problems.length = 0
})
const headings = () => page.locator("h1").innerText()

test("each page has its title and its heading", async () => {
	const id = await start(db, "order-1", "order", "orders", { item: "book" })
	await done(id)
	for (const [path, name] of [["", "Overview"], ["workflows", "Workflows"], ["queues", "Queues"], ["schedules", "Schedules"], ["executors", "Executors"]]) {
		await page.goto(ui.url + path)
		await page.getByRole("heading", { level: 1, name }).waitFor()
		assert.match(await page.title(), new RegExp(`^${name}`))
		assert.equal(await page.getByRole("navigation", { name: "Pages" }).locator("[aria-current=page]").innerText(), name)
	}
	await page.goto(`${ui.url}workflows/${id}`)
	await page.getByRole("heading", { level: 1, name: "order-1" }).waitFor()
	assert.match(await page.title(), /^order-1/)
	await page.goto(`${ui.url}nonsense`)
	assert.equal(await headings(), "Nothing here")
	await page.goto(`${ui.url}workflows/01a20943-787a-7fc8-a6a5-bb55d5000000`)
	await page.getByRole("alert").getByText("There is no workflow 01a20943").waitFor()
	await page.goto(`${ui.url}workflows/what`)
	await page.getByRole("alert").getByText('"what" is no id').waitFor()
	clean(page)
})

test("the overview: queues, executors, schedules, failures", async () => {
	await db.query("SELECT durable.create_schedule('nightly', '30 2 * * *', 'orders', timezone => 'Europe/Berlin')")
	const failed = await db.one("SELECT workflow_id FROM durable.start('kaput', executor_id => 'w')")
	await db.query("SELECT durable.fail($1, E'out of paper\nat line 7')", [failed])
	await page.goto(ui.url)
	await page.getByRole("row").filter({ hasText: "orders" }).waitFor()
	const failures = page.getByRole("region", { name: "Failures lately" })
	await failures.getByText("out of paper").waitFor()
	assert.equal(await failures.getByText("line 7").count(), 0)
	await page.getByRole("region", { name: "What is wrong" }).getByText("1 workflow failed in the last 15 minutes").waitFor()
	await page.getByRole("region", { name: "Executors" }).getByText("version 1.2.3").waitFor()
	await page.getByRole("region", { name: "Next by schedule" }).getByText("nightly").waitFor()
	await page.getByRole("region", { name: "Check" }).getByText("No rule is broken").waitFor()
	// it follows
	await start(db, "later", "order", "patient")
	await page.getByRole("row").filter({ hasText: "patient" }).getByRole("cell").first().filter({ hasText: "1" }).waitFor()
	await failures.getByRole("link", { name: "kaput" }).click()
	await page.getByRole("heading", { level: 1, name: "kaput" }).waitFor()
	clean(page)
})

test("one workflow: history, timeline, tree, events, input and output", async () => {
	const id = await start(db, "order-2", "order", "orders", { item: "lamp", list: [1, 2, { deep: "yes" }] })
	await done(id)
	await page.goto(`${ui.url}workflows/${id}`)
	await page.getByRole("group", { name: "Input" }).getByText('"lamp"').waitFor()
	await page.getByRole("group", { name: "Output" }).getByText("true").waitFor()
	const steps = page.getByRole("list", { name: "Steps" })
	assert.equal(await steps.getByRole("listitem").count(), 3)
	await steps.getByRole("link", { name: "charge" }).getByText("attempt 2").waitFor()
	await steps.getByRole("link", { name: "charge" }).click()
	const panel = page.getByRole("complementary", { name: "Step 1" })
	await panel.getByText("R-1").waitFor()
	await panel.getByText("of at most 4").waitFor()
	assert.match(page.url(), /step=1/)
	await page.keyboard.press("Escape")
	await panel.waitFor({ state: "detached" })
	await page.getByLabel("Search steps").fill("reser")
	await page.getByText("1 of 3 steps").waitFor()
	await page.getByLabel("Search steps").fill("R-1")
	await steps.getByRole("link", { name: "charge" }).waitFor()
	await page.getByLabel("Search steps").fill("nothing of that")
	await page.getByText("No step matches.").waitFor()

	await page.getByRole("tab", { name: "Timeline" }).click()
	const timeline = page.getByRole("list", { name: "Timeline" })
	await timeline.getByRole("link", { name: /^charge, completed, began after .*, took .*, attempt 2$/ }).waitFor()
	await page.getByRole("tab", { name: "Tree" }).click()
	const tree = page.getByRole("list", { name: "Tree" })
	await tree.getByRole("button", { name: "Unfold mail for order-2" }).click()
	await tree.getByRole("link", { name: "send" }).waitFor()
	await tree.getByRole("link", { name: "mail for order-2" }).click()
	await page.getByRole("heading", { level: 1, name: "mail for order-2" }).waitFor()
	await page.getByRole("navigation", { name: "Ancestors" }).getByRole("link", { name: "order-2" }).click()
	await page.getByRole("tab", { name: "Events" }).click()
	await page.getByRole("list", { name: "Events" }).getByText("charged").first().waitFor()
	clean(page)
})

test("events come as they are said", async () => {
	const id = await start(db, "talker", "talk", "orders")
	await page.goto(`${ui.url}workflows/${id}?tab=events`)
	const events = page.getByRole("list", { name: "Events" })
	await events.getByText('{"i": 3}').waitFor()
	// more often than every two seconds
	const news = await events.evaluate(async (list) => {
		const seen = new Set()
		const observer = new MutationObserver(() => seen.add(list.firstChild.textContent.length && list.querySelector(".step-n")?.textContent))
		observer.observe(list, { childList: true, subtree: true, characterData: true })
		await new Promise((resolve) => setTimeout(resolve, 4_000))
		observer.disconnect()
		return seen.size
	})
	assert.ok(news >= 4, `${news} times in 4 s`)
	await db.query("SELECT durable.cancel_tree($1)", [id])
	await page.locator(".title").getByText("cancelled").waitFor()
	clean(page)
})

test("filters are in the address; pages go by key, there and back", async () => {
	await db.query("SELECT durable.start_many(ARRAY(SELECT 'page-' || i FROM generate_series(1, 130) i), handler => 'nobody', queue => 'patient')")
	await page.goto(`${ui.url}workflows`)
	await page.getByLabel("Handler").fill("nobody")
	await page.keyboard.press("Enter")
	await page.waitForURL(/handler=nobody/)
	const first = page.locator("tbody tr").first()
	await first.getByText("page-130").waitFor()
	assert.equal(await page.locator("tbody tr").count(), 50)
	await page.getByRole("link", { name: "Older" }).click()
	await first.getByText("page-80").waitFor()
	await page.getByRole("link", { name: "Older" }).click()
	await first.getByText("page-30").waitFor()
	assert.equal(await page.locator("tbody tr").count(), 30)
	assert.equal(await page.getByRole("link", { name: "Older" }).count(), 0)
	await page.getByRole("link", { name: "Newer" }).click()
	await first.getByText("page-80").waitFor()
	await page.goBack()
	await first.getByText("page-30").waitFor()
	await page.getByRole("link", { name: "Newest" }).click()
	await first.getByText("page-130").waitFor()
	await page.getByLabel("Status").selectOption("COMPLETED")
	await page.getByText("No workflow matches.").waitFor()
	await page.getByRole("button", { name: "Clear filters" }).click()
	await page.getByRole("row").filter({ hasText: "page-130" }).waitFor()
	await page.getByLabel("Roots only").check()
	await page.waitForURL(/roots=1/)
	await page.goto(`${ui.url}workflows?to=2020-01-01T00:00:00Z`)
	await page.getByText("No workflow matches.").waitFor()
	await page.goto(`${ui.url}workflows?from=2020-01-01T00:00:00Z&queue=mail&status=COMPLETED`)
	await page.getByRole("link", { name: "mail for order-2" }).waitFor()
	await page.goto(`${ui.url}workflows?status=NONSENSE`)
	await page.getByRole("alert").getByText('"NONSENSE" is no status').waitFor()
	clean(page)
})

test("tags, where the extension has them", async (t) => {
	if (!(await db.one("SELECT count(*) FROM pg_proc WHERE pronamespace = 'durable'::regnamespace AND proname = 'set_tags'"))) return t.skip("durable.set_tags is not there yet")
	const id = await db.one(`SELECT workflow_id FROM durable.start('tagged', queue => 'patient', tags => '{"customer": 42}')`)
	await page.goto(`${ui.url}workflows`)
	await page.getByLabel("Tags").fill("customer=42")
	await page.keyboard.press("Enter")
	await page.getByRole("link", { name: "tagged" }).waitFor()
	assert.equal(await page.locator("tbody tr").count(), 1)
	await page.getByRole("link", { name: "tagged" }).click()
	await page.locator(".facts").getByText("customer: 42").waitFor()
	await page.getByRole("button", { name: "Set tags" }).click()
	await page.getByRole("dialog").getByLabel("Tags").fill('{"vip": true}')
	await page.getByRole("dialog").getByRole("button", { name: "Set tags" }).click()
	await page.locator(".facts").getByText("vip: true").waitFor()
	assert.equal(await db.one(`SELECT count(*) FROM durable.list(tags => '{"vip": true}') WHERE id = $1`, [id]), 1)
	clean(page)
})

test("Waiting and Suspended", async () => {
	const id = await start(db, "sleeper", "nap", "orders")
	await until("it sleeps", () => db.one("SELECT count(*) FROM durable.suspended WHERE id = $1", [id]))
	await page.goto(`${ui.url}workflows`)
	await page.getByRole("link", { name: "Waiting" }).click()
	await page.getByRole("row").filter({ hasText: "long sleep" }).getByText("a time").waitFor()
	await page.getByRole("link", { name: "Suspended" }).click()
	await page.getByRole("link", { name: "sleeper" }).click()
	await page.getByText("Waits for a time").waitFor()
	clean(page)
})

test("find by name, by id, by the id of a step", async () => {
	const id = await start(db, "needle", "order", "patient")
	await page.goto(ui.url)
	await page.getByRole("heading", { name: "Queues" }).waitFor()
	await page.keyboard.press("/")
	await page.keyboard.type("needle")
	await page.keyboard.press("Enter")
	await page.getByRole("link", { name: "needle" }).waitFor()
	await page.getByRole("searchbox", { name: "Find by name or id" }).fill(id)
	await page.keyboard.press("Enter")
	await page.getByRole("heading", { level: 1, name: "needle" }).waitFor()
	const order = await db.one("SELECT id FROM durable.workflow WHERE name = 'order-2'")
	await page.getByRole("searchbox", { name: "Find by name or id" }).fill(order.slice(0, -6) + "000002")
	await page.keyboard.press("Enter")
	await page.getByRole("complementary", { name: "Step 1" }).waitFor()
	clean(page)
})

test("with the keyboard alone", async () => {
	await page.goto(ui.url)
	await page.getByRole("heading", { name: "Queues" }).waitFor()
	await page.keyboard.press("g")
	await page.keyboard.press("w")
	await page.getByRole("heading", { level: 1, name: "Workflows" }).waitFor()
	await page.getByRole("table").waitFor()
	await page.keyboard.press("j")
	await page.keyboard.press("j")
	const name = await page.evaluate(() => document.activeElement.textContent)
	await page.keyboard.press("Enter")
	await page.getByRole("heading", { level: 1, name }).waitFor()
	await page.getByRole("button", { name: "Cancel" }).focus()
	await page.keyboard.press("Enter")
	await page.getByRole("dialog").waitFor()
	// the focus is inside, stays inside, and comes back
	for (let i = 0; i < 8; i++) {
		await page.keyboard.press("Tab")
		assert.ok(await page.evaluate(() => !document.activeElement.closest("main, header")))
	}
	await page.keyboard.press("Escape")
	await page.getByRole("dialog").waitFor({ state: "detached" })
	await until("the focus is back", async () => (await page.evaluate(() => document.activeElement.textContent)) === "Cancel", 2)
	await page.keyboard.press("?")
	await page.getByRole("dialog", { name: "Keys" }).waitFor()
	await page.keyboard.press("Escape")
	// each thing that can be clicked can be reached
	const unreachable = await page.evaluate(() => [...document.querySelectorAll("button, a[href], input, select")].filter((one) => one.tabIndex < 0 && one.getAttribute("role") !== "tab").length)
	assert.equal(unreachable, 0)
	clean(page)
})

test("everything that can be used has a name, and every picture is told or hidden", async () => {
	const id = await db.one("SELECT id FROM durable.workflow WHERE name = 'order-2'")
	for (const path of ["", "workflows", `workflows/${id}?step=1`, `workflows/${id}?tab=timeline`, "queues", "schedules", "executors"]) {
		await page.goto(ui.url + path)
		await page.locator(".skeleton").waitFor({ state: "detached" })
		const nameless = await page.evaluate(() => [...document.querySelectorAll("button, a[href], input, select, textarea")].filter((one) =>
			!(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length)).map((one) => one.outerHTML.slice(0, 120)))
		assert.deepEqual(nameless, [], path)
		assert.equal(await page.evaluate(() => [...document.querySelectorAll("svg")].filter((one) => !one.getAttribute("aria-hidden") && !one.getAttribute("aria-label")).length), 0, path)
		assert.equal(await page.locator("h1").count(), 1, path)
		assert.deepEqual(await page.evaluate(() => {
			const ids = [...document.querySelectorAll("[id]")].map((one) => one.id)
			return ids.filter((one, i) => ids.indexOf(one) !== i)
		}), [], path)
	}
	clean(page)
})

/** As WCAG counts it. */
const contrast = () => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })
	const rgb = (color) => {
		canvas.clearRect(0, 0, 1, 1)
		canvas.fillStyle = color
		canvas.fillRect(0, 0, 1, 1)
		return [...canvas.getImageData(0, 0, 1, 1).data]
	}
	const light = ([r, g, b]) => [r, g, b].map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
	const behind = (one) => {
		for (; one; one = one.parentElement) {
			const color = rgb(getComputedStyle(one).backgroundColor)
			if (color[3] === 255) return color
		}
		return rgb("white")
	}
	const found = []
	for (const one of document.querySelectorAll("main *, header *, dialog *")) {
		if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()) || !one.checkVisibility() || one.closest(".hidden, :disabled, svg, option")) continue
		const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))]
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
		if (ratio < 4.5) found.push(`${one.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)} ${one.className}`)
	}
	return found
}

test("dark and light, by the system or by choice, both with enough contrast", async () => {
	const id = await db.one("SELECT id FROM durable.workflow WHERE name = 'order-2'")
	const failed = await db.one("SELECT id FROM durable.workflow WHERE name = 'kaput'")
	const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
	const seen = new Set()
	for (const colorScheme of ["light", "dark"]) {
		await page.emulateMedia({ colorScheme })
		for (const path of ["", "workflows", `workflows/${id}?step=1`, `workflows/${failed}`, "queues", "schedules", "executors", "workflows?view=waiting"]) {
			await page.goto(ui.url + path)
			await page.locator(".skeleton").waitFor({ state: "detached" })
			assert.deepEqual(await page.evaluate(contrast), [], `${colorScheme} ${path}`)
		}
		seen.add(await background())
	}
	assert.equal(seen.size, 2)
	const dark = await background()
	await page.getByRole("button", { name: "Theme: auto" }).click()
	await page.getByRole("button", { name: "Theme: light" }).waitFor()
	assert.notEqual(await background(), dark)
	await page.reload()
	assert.notEqual(await background(), dark)
	await page.getByRole("button", { name: "Theme: light" }).click()
	await page.getByRole("button", { name: "Theme: dark" }).waitFor()
	await page.emulateMedia({ colorScheme: "light" })
	assert.equal(await background(), dark)
	await page.getByRole("button", { name: "Theme: dark" }).click()
	await page.emulateMedia({ colorScheme: null })
	clean(page)
})

test("a phone: nothing is wider than it, and all can be used", async () => {
	await page.setViewportSize({ width: 360, height: 740 })
	const id = await db.one("SELECT id FROM durable.workflow WHERE name = 'order-2'")
	for (const path of ["", "workflows", `workflows/${id}`, `workflows/${id}?step=1`, `workflows/${id}?tab=timeline`, `workflows/${id}?tab=tree`, `workflows/${id}?tab=events`, "queues", "schedules", "executors", "workflows?view=waiting"]) {
		await page.goto(ui.url + path)
		await page.locator(".skeleton").waitFor({ state: "detached" })
		await page.locator("h1").waitFor()
		assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360, path)
	}
	await page.goto(`${ui.url}queues`)
	await page.getByRole("row").filter({ hasText: "patient" }).getByRole("button", { name: "Pause" }).click()
	await until("it is paused", () => db.one("SELECT paused FROM durable.queue WHERE name = 'patient'"))
	await page.getByRole("row").filter({ hasText: "patient" }).getByRole("button", { name: "Resume" }).click()
	await page.getByRole("button", { name: "New queue" }).click()
	assert.ok((await page.getByRole("dialog").boundingBox()).width <= 360)
	await page.setViewportSize({ width: 1280, height: 860 })
	clean(page)
})

test("nothing moves when news comes", async () => {
	await page.goto(ui.url)
	await page.getByRole("row").filter({ hasText: "orders" }).waitFor()
	await page.evaluate(() => {
		window.shift = 0
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value
		}).observe({ type: "layout-shift" })
	})
	for (let i = 0; i < 3; i++) await done(await start(db, `steady ${i}`, "order", "orders"))
	await page.waitForTimeout(2_500)
	assert.ok((await page.evaluate(() => window.shift)) < 0.05)
	clean(page)
})

test("a hidden page asks for nothing", async () => {
	await page.goto(`${ui.url}workflows`)
	await page.getByRole("table").waitFor()
	await page.evaluate(() => {
		Object.defineProperty(document, "hidden", { value: true, configurable: true })
		document.dispatchEvent(new Event("visibilitychange"))
	})
	await page.waitForTimeout(300)
	page.asked = []
	await start(db, "unseen", "order", "patient")
	await page.waitForTimeout(2_500)
	assert.deepEqual(page.asked.filter((url) => /live|workflows/.test(url)), [])
	assert.equal(await page.getByRole("link", { name: "unseen" }).count(), 0)
	await page.evaluate(() => {
		Object.defineProperty(document, "hidden", { value: false, configurable: true })
		document.dispatchEvent(new Event("visibilitychange"))
	})
	await page.getByRole("link", { name: "unseen" }).waitFor()
	clean(page)
})

test("/metrics is what the extension says, /healthz is well", async () => {
	const answer = await ui.get("metrics")
	assert.match(answer.headers.get("content-type"), /^application\/openmetrics-text; version=1.0.0/)
	const text = await answer.text()
	assert.match(text, /^durable_workflows_pending\{queue="patient"\} \d+$/m)
	assert.ok(text.endsWith("# EOF\n"))
	assert.equal((await ui.get("healthz")).status, 200)
})
