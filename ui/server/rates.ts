// What was done in the last minutes: looked up every ten seconds, for as long as the dashboard
// runs. What was before that is counted in the register of what has ended, if the role may read it.

import type { Database } from "./db.ts"
import type { Queries } from "./queries.ts"

const period = 10_000
const kept = 90

export function startSampling(db: Database, queries: Queries): () => void {
	let isFirst = true
	let isBusy = false

	async function before(): Promise<void> {
		const rights = await db.rights()
		if (!rights.relations.has("ended")) return
		const rows = await db.read(`
			SELECT f.status, floor(extract(epoch FROM e.ended_at) / 10)::int8 AS slot, count(*) AS n
			FROM (VALUES (false), (true)) r (is_root) CROSS JOIN (VALUES ('COMPLETED'::durable.task_status), ('FAILED')) f (status)
				CROSS JOIN LATERAL (SELECT e.ended_at FROM durable.ended e WHERE e.is_root = r.is_root AND e.status = f.status
					AND e.ended_at > durable.clock() - interval '16 min' ORDER BY e.ended_at DESC LIMIT 200000) e
			GROUP BY 1, 2`)
		const ended = new Map(rows.map((row) => [`${row.status} ${row.slot}`, row.n as number]))
		const now = Math.floor(Date.now() / period)
		queries.rates[""] = Array.from({ length: kept }, (_, i) => {
			const slot = now - kept + i
			const minute = (status: string) => [0, 1, 2, 3, 4, 5].reduce((sum, back) => sum + (ended.get(`${status} ${slot - back}`) ?? 0), 0)
			return { t: slot * period, completed: minute("COMPLETED"), failed: minute("FAILED"), due: 0, running: 0 }
		})
	}

	async function sample(): Promise<void> {
		if (isBusy) return
		isBusy = true
		try {
			if (isFirst) await before()
			if (isFirst && (await db.rights()).functions.has("check")) void queries.runCheck(2_000)
			isFirst = false
			const t = Date.now()
			const rows = await queries.queues()
			const sum = { t, completed: 0, failed: 0, due: 0, running: 0 }
			for (const row of rows) {
				const one = { t, completed: row.completed_last_minute, failed: row.failed_last_minute, due: row.due, running: row.running }
				for (const key of ["completed", "failed", "due", "running"] as const) sum[key] += one[key]
				const name = "q " + (row.name ?? "")
				queries.rates[name] = [...(queries.rates[name] ?? []), one].slice(-kept)
			}
			queries.rates[""] = [...(queries.rates[""] ?? []), sum].slice(-kept)
			const names = new Set(["", ...rows.map((row) => "q " + (row.name ?? ""))])
			for (const name of Object.keys(queries.rates)) if (!names.has(name)) delete queries.rates[name]
		} catch {
			// the pages say what is wrong
		} finally {
			isBusy = false
		}
	}

	const timer = setInterval(() => void sample(), period)
	void sample()
	return () => clearInterval(timer)
}
