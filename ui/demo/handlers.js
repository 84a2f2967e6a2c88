// What the demo's shop does all day.

import { Fatal } from "./worker.js"

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const work = (least, most) => sleep(least + Math.random() * (most - least))

export const handlers = {
	/** Reserves, charges (the card service fails now and then), waits for an approval if it is much, ships. */
	async order(c) {
		const { item, price, flaky = 0 } = c.input
		const shelf = await c.step("reserve", async () => (await work(20, 120), { shelf: Math.ceil(Math.random() * 40) }))
		await c.emit("progress", { reserved: item })
		const receipt = await c.step("charge", async ({ attempt }) => {
			await work(40, 300)
			if (attempt <= flaky) throw new Error(`card service: 503 Service Unavailable (attempt ${attempt})`)
			if (Math.random() < 0.02) throw new Fatal("card service: card 4000-0002 declined")
			return { receipt: `R-${Math.ceil(Math.random() * 1e5)}`, amount: price }
		}, { retries: 5, backoff: "2 s", input: { item, price } })
		await c.emit("progress", { charged: price })
		if (price > 400) await c.signal("approval", "2 min")
		if (c.input.call) await c.callback("courier picks up", "5 min")
		const mail = await c.child(`mail ${c.name}`, "mail", { to: `${item}@example.com` }, "mail")
		await c.all([mail])
		return { ...shelf, ...receipt }
	},

	async mail(c) {
		await c.step("render", () => work(10, 60))
		await c.step("send", async () => (await work(30, 200), { message: `<${c.id}@example.com>` }), { retries: 3 })
		return "sent"
	},

	/** A step for each batch, with progress. */
	async import(c) {
		const batches = c.input?.batches ?? 30
		for (let i = 1; i <= batches; i++) {
			const rows = await c.step(`batch ${i}`, async () => (await work(50, 400), Math.ceil(Math.random() * 1000)))
			await c.emit("rows", { batch: i, of: batches, rows })
		}
		return { batches }
	},

	async report(c) {
		const parts = []
		for (const part of ["orders", "stock", "returns", "staff"]) parts.push(await c.child(`${part} ${c.name}`, "mail", { part }, "mail"))
		await c.all(parts)
		await c.sleep("cool down", "3 s")
		return { pages: 42 }
	},

	/** Fails until its input says that it is mended. */
	async invoice(c) {
		await c.step("load", () => work(10, 50))
		await c.step("render pdf", () => {
			if (!c.input?.mended) throw new Fatal("TypeError: cannot read property 'vat' of undefined\n    at render (invoice.js:41:13)\n    at step (worker.js:88:20)")
			return { pages: 2 }
		})
		return "done"
	},
}
