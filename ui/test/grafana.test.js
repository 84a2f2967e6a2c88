// The Grafana dashboard and the alert rules speak of metrics that a real scrape has.

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { newDatabase, startUi } from "./lib.js"

const file = (name) => readFileSync(new URL(`../grafana/${name}`, import.meta.url), "utf8")
const db = await newDatabase("ui_grafana")
await db.query("SELECT durable.create_queue('mail', max_concurrency => 5, rate_limit => 10)")
const ui = await startUi(db.connection)

/** name -> the labels of its samples */
async function scrape() {
	const found = new Map()
	for (const line of (await (await ui.get("metrics")).text()).split("\n")) {
		if (!line || line.startsWith("#")) continue
		const [, name, labels = "", value] = /^([a-z_]+)(\{.*\})? (\S+)$/.exec(line) ?? assert.fail(`no sample: ${line}`)
		assert.ok(!Number.isNaN(Number(value)), line)
		found.set(name, new Set([...(found.get(name) ?? []), ...[...labels.matchAll(/([a-z_]+)=/g)].map(([, label]) => label)]))
	}
	return found
}
const metrics = (expression) => [...new Set(expression.match(/\bdurable_[a-z_]+/g))]

test("each panel has its metrics, and shows what no other does", async () => {
	const known = await scrape()
	const { panels, templating } = JSON.parse(file("durable.json"))
	const used = new Set()
	assert.equal(new Set(panels.map((panel) => panel.id)).size, panels.length)
	for (const panel of panels)
		for (const { expr } of panel.targets) {
			assert.ok(metrics(expr).length, expr)
			for (const name of metrics(expr)) {
				assert.ok(known.has(name), `${panel.title}: there is no ${name}`)
				if (expr.includes(`${name}{queue`)) assert.ok(known.get(name).has("queue"), `${name} has no queue`)
				used.add(name)
			}
		}
	const rows = panels.map(({ gridPos: { x, y, w, h } }) => [x, y, x + w, y + h])
	for (const [i, a] of rows.entries()) for (const b of rows.slice(i + 1)) assert.ok(a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1], "panels overlap")
	assert.deepEqual(templating.list.map((one) => one.name), ["datasource", "queue"])
	const unused = [...known.keys()].filter((name) => !used.has(name) && !/rate_limit|workflows_pending/.test(name))
	assert.deepEqual(unused, [], "shown nowhere")
})

test("each alert has its metrics", async () => {
	const known = await scrape()
	const expressions = [...file("alerts.yaml").matchAll(/^ +expr: (.*)$/gm)].map(([, expression]) => expression)
	assert.ok(expressions.length > 8)
	for (const expression of expressions) for (const name of metrics(expression)) assert.ok(known.has(name), `${expression}: there is no ${name}`)
})
