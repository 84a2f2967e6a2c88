// What the pages show. The extension's functions answer, which every reader may call. A few facts of
// one workflow, and what ended before the dashboard began, stand in the tables only: they are shown to who may read those.

import type { Check, Executor, Overview, Queue, Schedule, Session, Step, Wait, Workflow, WorkflowList, WorkflowPage } from "../shared/types.ts"
import { actions, bulkActions } from "../shared/actions.ts"
import { badRequest, Database, notFound, Refusal, type Rights } from "./db.ts"

export interface Options {
	readOnly: boolean
	hidePayloads: boolean
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const pageSize = 50

export function requireId(id: string): string {
	if (!uuid.test(id)) throw badRequest(`"${id}" is no id`, "An id looks like 01a20943-787a-7fc8-a6a5-bb55d5000000.")
	return id
}

/** The workflow of a task's id: a step's has its position in the last 24 bits. */
export const workflowOf = (id: string) => id.slice(0, -6) + "000000"

function idBefore(id: string): string {
	const hex = (BigInt("0x" + id.replaceAll("-", "")) - 1n).toString(16).padStart(32, "0")
	return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-")
}

/** Ids are in the order of creation: all that was created before that time has a lesser one. */
function idAt(time: string): string {
	const ms = Date.parse(time)
	if (Number.isNaN(ms) || ms < 0) throw badRequest(`"${time}" is no time`)
	const hex = Math.floor(ms).toString(16).padStart(12, "0")
	return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

export class Queries {
	check: Check = { state: "unknown", at: null, seconds: null, problems: [], message: null }
	rates: Overview["rates"] = {}

	constructor(readonly db: Database, readonly options: Options) {}

	async session(user: string | null): Promise<Session> {
		const rights = await this.db.rights()
		const allowed = (fn: string) => !this.options.readOnly && rights.functions.has(fn)
		return {
			database: rights.database,
			role: rights.role,
			server: rights.server,
			extension: rights.extension,
			actions: Object.entries(actions).filter(([, action]) => allowed(action.fn)).map(([name]) => name),
			bulk: Object.keys(bulkActions).filter((name) => allowed(actions[name as keyof typeof actions].fn)),
			fields: {
				tags: !!rights.functions.get("list")?.has("tags"),
				graceful: allowed("request_cancel"),
				check: allowed("check"),
			},
			readOnly: this.options.readOnly,
			hidePayloads: this.options.hidePayloads,
			user,
			now: new Date().toISOString(),
		}
	}

	/** What the role needs to see anything at all. */
	private async ready(): Promise<Rights> {
		const rights = await this.db.rights()
		if (!rights.extension)
			throw new Refusal({
				kind: "setup", code: "no extension", message: `Database "${rights.database}" does not have the extension durable.`,
				detail: "Either it is not installed there yet, or the dashboard was started with the connection string of another database.",
				hint: "CREATE EXTENSION durable;",
			}, 409)
		if (!rights.functions.has("list"))
			throw new Refusal({
				kind: "setup", code: "no rights", message: `Role "${rights.role}" may not look at the workflows of database "${rights.database}".`,
				detail: "It has no level of the extension's privileges. Who created the extension can give it one: reader looks, operator also pauses, cancels and resumes.",
				hint: `SELECT durable.grant_to('${rights.role.replaceAll("'", "''")}', 'reader');`,
			}, 403)
		return rights
	}

	private columns(rights: Rights, of = "t"): string {
		const has = rights.relations.get("task row")!
		const wanted = ["id", "parent_id", "sequence", "name", "handler", "status", "queue_name", "executor_id", "recovery_count",
			"created_at", "started_at", "completed_at", "deadline", "run_at", "lease", "concurrency_key", "tags", "cancel_requested_at", "cancel_reason"]
		return [...wanted.filter((column) => has.has(column)).map((column) => `${of}.${column}`), `left(${of}.error, 2000) AS error`].join(", ")
	}

	private async workflowById(rights: Rights, id: string): Promise<Workflow | undefined> {
		const [row] = await this.db.read(
			`SELECT ${this.columns(rights)}, durable.clock() AS now FROM durable.list(after_id => $1, descending => false, max_rows => 1) t WHERE t.id = $2`,
			[idBefore(id), id])
		return row
	}

	// ---- overview ------------------------------------------------------------------------------

	async overview(): Promise<Overview> {
		const rights = await this.ready()
		const [queues, [counts], failures, executors, schedules, stuck] = await Promise.all([
			this.queues(),
			this.db.read("SELECT json_object_agg(s, durable.count(status => s)) AS counts, durable.clock() AS now FROM unnest(enum_range(NULL::durable.task_status)) s"),
			this.failures(rights),
			this.executorRows(),
			this.scheduleRows(1),
			this.stuckRows(),
		])
		return {
			now: counts.now, queues, counts: counts.counts, failures, executors, schedules, stuck,
			rates: this.rates, check: rights.functions.has("check") ? this.check : null,
		}
	}

	private failures(rights: Rights): Promise<Workflow[]> {
		return this.db.read(`SELECT ${this.columns(rights)} FROM durable.list('FAILED', sort => 'completed_at', root_only => true, max_rows => 10) t`)
	}

	async queues(): Promise<Queue[]> {
		await this.ready()
		return this.db.read(`
			SELECT s.queue_name AS name, s.pending, s.due, extract(epoch FROM s.oldest_pending)::float8 AS oldest_due, s.running, s.paused, s.stale,
				s.stale_executors, s.retries_waiting, s.completed_last_minute, s.failed_last_minute, s.cancelled_last_minute,
				coalesce(s.queue_paused, false) AS queue_paused, s.max_concurrency, s.rate_limit,
				extract(epoch FROM s.rate_limit_window)::float8 AS rate_limit_window, s.rate_limit_window::text AS rate_limit_window_text,
				s.waiting_for_version, s.suspended, s.key_concurrency, s.fair
			FROM durable.stats() s ORDER BY s.queue_name IS NULL, s.queue_name`)
	}

	// ---- executors -----------------------------------------------------------------------------

	private executorRows(id: string | null = null): Promise<Executor[]> {
		return this.db.read("SELECT * FROM durable.executors(executor_id => $1) e ORDER BY e.alive, e.executor_id", [id])
	}

	async executors() {
		await this.ready()
		const [executors, [{ now }]] = await Promise.all([this.executorRows(), this.db.read("SELECT durable.clock() AS now")])
		return { now, executors }
	}

	// ---- schedules -----------------------------------------------------------------------------

	private scheduleRows(next: number): Promise<Schedule[]> {
		// a schedule's own next time comes first; those after it follow from its line
		return this.db.read(`
			SELECT s.name, s.cron, s.queue, s.workflow, s.handler, ${this.options.hidePayloads ? "NULL" : "s.input"} AS input, s.timezone, s.overlap, s.catch_up,
				s.priority, s.timeout::text, s.jitter::text, s.starts_at, s.ends_at, s.max_recovery_attempts, s.app_version,
				s.next_run_at, s.paused, s.last_run_at, s.last_workflow_id, s.waiting_for, s.skipped, s.error,
				CASE WHEN s.next_run_at IS NULL THEN '{}' WHEN $1 = 1 OR s.cron LIKE '@every%' THEN ARRAY[s.next_run_at] ELSE
					s.next_run_at || ARRAY(SELECT n FROM durable.next_runs(s.cron, s.timezone, s.next_run_at, $1 - 1) n
						WHERE s.ends_at IS NULL OR n <= s.ends_at) END AS next
			FROM (SELECT * FROM durable.schedules() s ORDER BY s.error IS NULL, s.name LIMIT 500) s ORDER BY s.error IS NULL, s.name`, [next])
	}

	async schedules() {
		await this.ready()
		const [schedules, queues, [{ now }]] = await Promise.all([
			this.scheduleRows(5),
			this.db.read("SELECT s.queue_name AS name FROM durable.stats() s WHERE s.queue_name IS NOT NULL ORDER BY 1"),
			this.db.read("SELECT durable.clock() AS now"),
		])
		return { now, schedules, queues: queues.map((queue) => queue.name) }
	}

	async nextRuns(cron: string, timezone: string) {
		await this.ready()
		return { next: (await this.db.read("SELECT n FROM durable.next_runs($1, $2, max_rows => 5) n", [cron, timezone])).map((row) => row.n) }
	}

	// ---- workflows -----------------------------------------------------------------------------

	private stuckRows(): Promise<Workflow[]> {
		return this.db.read("SELECT s.workflow_id AS id, s.reason AS note, s.* FROM durable.stuck() s")
	}

	private filters(rights: Rights, query: URLSearchParams): [string, unknown, string][] {
		const text = (name: string) => query.get(name) || null
		const status = query.get("view") === "failed" ? "FAILED" : text("status")
		if (status && !/^(PENDING|RUNNING|COMPLETED|FAILED|PAUSED|CANCELLED)$/.test(status)) throw badRequest(`"${status}" is no status`)
		const found: [string, unknown, string][] = [
			["status", status, "durable.task_status"], ["queue_name", text("queue"), "text"], ["handler", text("handler"), "text"],
			["name", text("name"), "text"], ["root_only", query.get("roots") === "1" || null, "boolean"],
			["driven_by", text("executor"), "text"], ["suspended_only", query.get("view") === "suspended" || null, "boolean"],
		]
		const tags = text("tags")
		if (tags) {
			if (!rights.functions.get("list")!.has("tags")) throw badRequest("This version of the extension has no tags.")
			found.push(["tags", tagsJson(tags), "jsonb"])
		}
		return found.filter(([, value]) => value !== null)
	}

	/** A page of workflows by id; `take` more than there are on it tells whether another follows. */
	private async page(rights: Rights, query: URLSearchParams, after: string | null, descending: boolean, take: number): Promise<Workflow[]> {
		const filters = this.filters(rights, query)
		const args = filters.map(([name, , type], i) => `${name} => $${i + 4}::${type}`)
		const rows: Workflow[] = await this.db.read(
			`SELECT ${this.columns(rights)} FROM durable.list(${[...args, "after_id => $1", "descending => $2", "max_rows => $3"].join(", ")}) t`,
			[after, descending, take, ...filters.map(([, value]) => value)])
		const from = query.get("from") ? idAt(query.get("from")!) : ""
		const to = query.get("to") ? idAt(query.get("to")!) : "g"
		return rows.filter((row) => row.id >= from && row.id < to)
	}

	async workflows(query: URLSearchParams): Promise<WorkflowList> {
		const rights = await this.ready()
		const counting = this.db.read("SELECT json_object_agg(s, durable.count(status => s)) AS counts, durable.clock() AS now FROM unnest(enum_range(NULL::durable.task_status)) s")
		const listing = this.listing(rights, query)
		const [[{ counts, now }], list] = await Promise.all([counting, listing])
		return { now, counts, ...list }
	}

	private async listing(rights: Rights, query: URLSearchParams): Promise<Omit<WorkflowList, "now" | "counts">> {
		const view = query.get("view")
		const after = query.get("after") && requireId(query.get("after")!)
		const before = query.get("before") && requireId(query.get("before")!)
		if (view === "stuck") return { rows: await this.stuckRows(), next: null, previous: null }
		if (view === "waiting") {
			const waits: Wait[] = await this.db.read(
				`SELECT * FROM durable.waiting w ${after ? "WHERE (w.workflow_id, w.sequence) < ($2, $3)" : ""}
				ORDER BY w.workflow_id DESC, w.sequence DESC LIMIT $1`,
				[pageSize + 1, ...(after ? [workflowOf(after), parseInt(after.slice(-6), 16) - 1] : [])])
			const shown = waits.slice(0, pageSize)
			return { rows: [], waits: shown, next: waits.length > pageSize ? shown.at(-1)!.step_id : null, previous: null }
		}
		if (before) {
			const rows = (await this.page(rights, query, before, false, pageSize + 1)).reverse()
			const shown = rows.slice(-pageSize)
			return { rows: shown, next: shown.at(-1)?.id ?? before, previous: rows.length > pageSize ? shown[0].id : null }
		}
		const start = after ?? (query.get("to") ? idAt(query.get("to")!) : null)
		const rows = await this.page(rights, query, start, true, pageSize + 1)
		const shown = rows.slice(0, pageSize)
		return { rows: shown, next: rows.length > pageSize ? shown.at(-1)!.id : null, previous: after ? shown[0]?.id ?? null : null }
	}

	/** All that match a filter and have one of these statuses, up to a number. */
	async matching(query: URLSearchParams, statuses: string[], most: number): Promise<{ id: string; name: string; status: string }[]> {
		const rights = await this.ready()
		const view = query.get("view")
		if (view === "stuck" || view === "waiting") {
			const found = new Map<string, { id: string; name: string; status: string }>()
			let next: string | null = null
			do {
				if (next) query.set("after", next)
				const page: Omit<WorkflowList, "now" | "counts"> = await this.listing(rights, query)
				for (const { id, name, status } of page.rows) if (statuses.includes(status)) found.set(id, { id, name, status })
				for (const wait of page.waits ?? [])
					found.set(wait.workflow_id, { id: wait.workflow_id, name: wait.root_name ?? "", status: "RUNNING" })
				next = page.next
			} while (next && found.size < most)
			return [...found.values()].slice(0, most)
		}
		const asked = view === "failed" ? "FAILED" : query.get("status")
		const found: { id: string; name: string; status: string }[] = []
		for (const status of statuses.filter((status) => !asked || status === asked)) {
			const one = new URLSearchParams(query)
			one.set("status", status)
			let after = query.get("to") ? idAt(query.get("to")!) : null
			while (found.length < most) {
				const rows = await this.page(rights, one, after, true, 1000)
				found.push(...rows.map(({ id, name, status }) => ({ id, name, status })))
				if (rows.length < 1000) break
				after = rows.at(-1)!.id
			}
		}
		return found.slice(0, most)
	}

	// ---- one workflow --------------------------------------------------------------------------

	async workflow(id: string): Promise<WorkflowPage> {
		const rights = await this.ready()
		requireId(id)
		const workflow = await this.workflowById(rights, id)
		if (!workflow) throw notFound(`There is no workflow ${id}.`, "It may have been purged, or belong to another database.")
		const now = (workflow as any).now
		delete (workflow as any).now
		const reads = (...names: string[]) => names.every((name) => rights.relations.has(name))
		const [ancestors, [history], [{ children }], waits, last_event, executors, queues, [more], signals] = await Promise.all([
			this.ancestors(rights, workflow),
			this.db.read(`
				WITH h AS MATERIALIZED (SELECT h.sequence, h.step_id, h.name, h.kind, h.status, left(h.error, 2000) AS error, h.attempt, h.run_at, h.child_id, h.wait
					FROM durable.history($1) h)
				SELECT (SELECT json_object_agg(c.status, c.n) FROM (SELECT h.status, count(*) AS n FROM h GROUP BY 1) c) AS counts,
					(SELECT json_agg(f) FROM (SELECT * FROM h WHERE h.status = 'FAILED' ORDER BY h.sequence DESC LIMIT 10) f) AS failed,
					(SELECT json_agg(o) FROM (SELECT * FROM h WHERE h.status IN ('PENDING', 'RUNNING', 'PAUSED') ORDER BY h.sequence LIMIT 50) o) AS open,
					(SELECT md5(string_agg(concat_ws(' ', h.sequence, h.status, h.attempt, h.run_at), ',')) FROM h) AS version`, [id]),
			this.db.read("SELECT durable.count(parent_id => $1) AS children", [id]),
			this.db.read("SELECT * FROM durable.waiting w WHERE w.workflow_id = $1 ORDER BY w.sequence LIMIT 50", [id]),
			this.lastEvent(id),
			workflow.executor_id ? this.executorRows(workflow.executor_id) : null,
			workflow.queue_name ? this.queues() : [],
			reads("workflow")
				? this.db.read(`SELECT to_jsonb(w) - ARRAY['input', 'output', 'error', 'detail'] AS more FROM durable.workflow w WHERE w.id = $1`, [id]) : [],
			reads("signal")
				? this.db.read("SELECT s.name, s.key, s.sent_at, s.sequence FROM durable.signal s WHERE s.workflow_id = $1 ORDER BY s.sequence IS NOT NULL, s.id DESC LIMIT 20", [id]) : null,
		])
		return {
			now, workflow, ancestors, waits, last_event, signals, children,
			counts: history.counts ?? {}, failed: history.failed ?? [], open: history.open ?? [], version: history.version ?? "",
			executor: executors?.[0] ?? null,
			queue: queues.find((queue) => queue.name === workflow.queue_name) ?? null,
			more: more?.more ?? null,
		}
	}

	private async ancestors(rights: Rights, workflow: Workflow): Promise<WorkflowPage["ancestors"]> {
		const found: WorkflowPage["ancestors"] = []
		for (let id = workflow.parent_id; id && found.length < 20; ) {
			const parent = await this.workflowById(rights, id)
			if (!parent) break
			found.unshift({ id: parent.id, name: parent.name, status: parent.status })
			id = parent.parent_id
		}
		return found
	}

	/** Numbers have no gaps: so whether there is one after k tells in a few looks where they end. */
	private async lastEvent(id: string): Promise<number> {
		const isAfter = async (n: number) => (await this.db.read("SELECT FROM durable.events($1, after => $2, max_rows => 1)", [id, n])).length > 0
		if (!(await isAfter(0))) return 0
		let low = 1
		let high = 2
		while (await isAfter(high - 1)) [low, high] = [high, high * 2]
		// there is one of number low, none of number high
		while (high - low > 1) {
			const middle = Math.floor((low + high) / 2)
			if (await isAfter(middle - 1)) low = middle
			else high = middle
		}
		return low
	}

	/** From a position on. */
	async steps(id: string, from: number): Promise<{ now: string; steps: Step[] }> {
		await this.ready()
		const times = ["STEP", "TRANSACTION", "WAIT"].map((kind) => `SELECT t.id, t.started_at, t.completed_at, t.retry_count, t.max_retries
			FROM durable.list(kind => '${kind}', parent_id => $1, max_rows => 2147483647) t`).join(" UNION ALL ")
		const steps = await this.db.read(`
			WITH t AS MATERIALIZED (${times}
				UNION ALL SELECT t.id, t.started_at, t.completed_at, 0, 0 FROM durable.list(parent_id => $1, max_rows => 100000) t)
			SELECT h.sequence, h.step_id, h.name, h.kind, h.status, h.attempt, t.started_at, t.completed_at, h.run_at, h.child_id, h.wait, left(h.error, 300) AS error,
				coalesce(t.retry_count, 0) AS retry_count, coalesce(t.max_retries, 0) AS max_retries,
				${this.options.hidePayloads ? "NULL" : "CASE WHEN pg_column_size(h.output) < 1000 THEN left(h.output::text, 160) END"} AS preview
			FROM durable.history($1) h LEFT JOIN t ON t.id = coalesce(h.child_id, h.step_id)
			WHERE h.sequence >= $2 ORDER BY h.sequence`, [requireId(id), from])
		const [{ now }] = await this.db.read("SELECT durable.clock() AS now")
		return { now, steps }
	}

	async events(id: string, after: number) {
		await this.ready()
		return {
			events: await this.db.read(
				`SELECT e.n, e.topic, ${this.options.hidePayloads ? "NULL" : "left(e.payload::text, 2000)"} AS payload, e.emitted_at
				FROM durable.events($1, after => $2, max_rows => 500) e`, [requireId(id), after]),
		}
	}

	/** A task's input, output and error in full. */
	async payload(id: string) {
		await this.ready()
		const hidden = this.options.hidePayloads
		const [row] = await this.db.read(`SELECT ${hidden ? "NULL" : "durable.input($1)::text"} AS input, ${hidden ? "NULL" : "durable.output($1)::text"} AS output,
			durable.error($1) AS error`, [requireId(id)])
		if (!hidden && workflowOf(id) !== id)
			row.detail = (await this.db.read("SELECT h.detail::text AS detail FROM durable.history($1) h WHERE h.step_id = $2", [workflowOf(id), id]))[0]?.detail ?? null
		return row
	}

	// ---- check ---------------------------------------------------------------------------------

	/** It reads all tables: so it is run when asked for, or once, briefly. */
	async runCheck(timeout: number): Promise<Check> {
		if (this.check.state === "running") return this.check
		const before = this.check
		this.check = { ...before, state: "running" }
		const began = Date.now()
		try {
			const client = await this.db.alone()
			try {
				await client.query(`BEGIN READ ONLY; SET LOCAL statement_timeout = ${timeout}`)
				const { rows } = await client.query("SELECT c.task_id, c.problem FROM durable.check() c LIMIT 200")
				this.check = { state: "done", at: new Date().toISOString(), seconds: (Date.now() - began) / 1000, problems: rows, message: null }
			} finally {
				await client.end()
			}
		} catch (error) {
			const isLong = (error as { code?: string }).code === "57014"
			this.check = {
				state: "error", at: new Date().toISOString(), seconds: (Date.now() - began) / 1000, problems: [],
				message: isLong ? `not finished after ${timeout / 1000} s` : (error as Error).message,
			}
		}
		return this.check
	}
}

/** customer=42, vip or a JSON object */
function tagsJson(text: string): string {
	if (text.trim().startsWith("{")) {
		try {
			return JSON.stringify(JSON.parse(text))
		} catch {
			throw badRequest("The tags are no JSON object.", 'Write {"customer": 42}, or customer=42.')
		}
	}
	return JSON.stringify(Object.fromEntries(text.split(",").map((pair) => {
		const [key, ...rest] = pair.split("=")
		const value = rest.join("=").trim()
		let parsed: unknown = value
		try {
			parsed = JSON.parse(value)
		} catch { /* a word */ }
		return [key.trim(), rest.length ? parsed : true]
	})))
}
