// What changes something: named actions only, each with the arguments that shared/actions.ts knows.

import { randomUUID } from "node:crypto"
import { actions, bulkActions, givenArgs, type ActionArgs, type ActionName, type ArgType } from "../shared/actions.ts"
import { badRequest, Refusal } from "./db.ts"
import { workflowOf, type Queries } from "./queries.ts"

const checks: Record<ArgType, (value: unknown) => boolean> = {
	uuid: (value) => typeof value === "string" && /^[0-9a-f-]{36}$/i.test(value),
	"uuid[]": (value) => Array.isArray(value) && value.every((one) => checks.uuid(one)),
	text: (value) => typeof value === "string",
	int: (value) => Number.isInteger(value) && Math.abs(value as number) < 2 ** 31,
	boolean: (value) => typeof value === "boolean",
	jsonb: () => true,
	interval: (value) => typeof value === "string",
	timestamptz: (value) => typeof value === "string",
}

export class Actions {
	private readonly runs = new Map<string, { action: string; ids: string[]; done: number; succeeded: number; refused: Map<string, number>; at: number }>()
	readonly most = 10_000

	constructor(private readonly queries: Queries) {}

	private async require(name: string): Promise<void> {
		if (this.queries.options.readOnly)
			throw new Refusal({ kind: "refused", code: "read-only", message: "The dashboard was started with --read-only." }, 403)
		const rights = await this.queries.db.rights()
		const fn = actions[name as ActionName].fn
		if (!rights.functions.has(fn))
			throw new Refusal({
				kind: "refused", code: "42501", message: `Role "${rights.role}" may not call durable.${fn}, or this version of the extension does not have it.`,
				hint: "durable.grant_to gives a role a higher level.",
			}, 403)
	}

	async run(name: string, args: ActionArgs): Promise<{ result: Record<string, unknown> | null }> {
		if (!Object.hasOwn(actions, name)) throw new Refusal({ kind: "request", code: "unknown", message: `There is no action "${name}".` }, 404)
		const action = actions[name as ActionName]
		for (const key of Object.keys(args)) if (!Object.hasOwn(action.args, key)) throw badRequest(`Action "${name}" has no argument "${key}".`)
		const given = givenArgs(name as ActionName, args)
		for (const [key, type, value] of given)
			if (value !== null && !checks[type](value)) throw badRequest(`Argument "${key}" is no ${type}.`)
		await this.require(name)
		const sql = `SELECT * FROM durable.${action.fn}(${given.map(([key, type], i) => `${key} => $${i + 1}::${type}`).join(", ")})`
		const rows = await this.queries.db.write(sql, given.map(([, type, value]) => (type === "jsonb" && value !== null ? JSON.stringify(value) : value)))
		return { result: rows[0] ?? null }
	}

	/** Finds what an action would change, and keeps it: what was counted is what will be done. */
	async dryRun(name: string, filter: string) {
		if (!Object.hasOwn(bulkActions, name)) throw new Refusal({ kind: "request", code: "unknown", message: `"${name}" cannot be done to many.` }, 404)
		await this.require(name)
		const query = new URLSearchParams(filter)
		for (const key of ["after", "before", "roots"]) if (key !== "roots") query.delete(key)
		if (!["view", "status", "queue", "handler", "name", "tags", "from", "to", "executor"].some((key) => query.get(key)))
			throw badRequest("Choose a filter first.", "Without one this would be done to every workflow of the database.")
		const found = await this.queries.matching(query, bulkActions[name].statuses, this.most + 1)
		const ids = found.slice(0, this.most).map((row) => row.id)
		const token = randomUUID()
		for (const [old, run] of this.runs) if (Date.now() - run.at > 600_000) this.runs.delete(old)
		this.runs.set(token, { action: name, ids, done: 0, succeeded: 0, refused: new Map(), at: Date.now() })
		return { token, count: ids.length, more: found.length > this.most, sample: found.slice(0, 5), sql: this.bulkSql(name, await this.hasMany(name)) }
	}

	private async hasMany(name: string): Promise<boolean> {
		const { many } = bulkActions[name]
		return !!many && (await this.queries.db.rights()).functions.has(many)
	}

	private bulkSql(name: string, many: boolean): string {
		return many ? `SELECT * FROM durable.${bulkActions[name].many}(ids => $1);` : `SELECT * FROM durable.${actions[name as ActionName].fn}(workflow_id => $1);  -- for each`
	}

	/** The next of them. Each is refused or done by itself. */
	async next(token: string) {
		const run = this.runs.get(token)
		if (!run) throw new Refusal({ kind: "request", code: "gone", message: "This was counted too long ago.", hint: "Count again." }, 410)
		await this.require(run.action)
		const batch = run.ids.slice(run.done, run.done + 100)
		run.done += batch.length
		run.at = Date.now()
		const refuse = (message: string) => run.refused.set(message, (run.refused.get(message) ?? 0) + 1)
		if (batch.length && (await this.hasMany(run.action))) {
			const rows = await this.queries.db.write(`SELECT * FROM durable.${bulkActions[run.action].many}($1::uuid[])`, [batch])
			for (const row of rows) {
				if (row.error) refuse(String(row.error).replace(/ [0-9a-f]{8}-[0-9a-f-]{27}( ".*")?/, ""))
				else run.succeeded++
			}
		} else
			for (const id of batch) {
				try {
					await this.queries.db.write(`SELECT * FROM durable.${actions[run.action as ActionName].fn}(workflow_id => $1)`, [workflowOf(id)])
					run.succeeded++
				} catch (error) {
					if (!(error instanceof Refusal) || error.problem.kind !== "refused") throw error
					refuse(`${error.problem.code}: ${error.problem.detail ?? error.problem.message}`)
				}
			}
		return {
			total: run.ids.length, done: run.done, succeeded: run.succeeded,
			refused: [...run.refused].map(([message, count]) => ({ message, count })).slice(0, 10),
		}
	}
}
