// What the dashboard can do to the database: each action is one call of one function of the
// extension. The server runs what stands here and nothing else, and the browser shows the same.

export type ArgType = "uuid" | "uuid[]" | "text" | "int" | "boolean" | "jsonb" | "interval" | "timestamptz"

export interface Action {
	fn: string
	args: Record<string, ArgType>
}

const workflow = { workflow_id: "uuid" } as const
const named = { name: "text" } as const
const limits = {
	name: "text", max_concurrency: "int", rate_limit: "int", rate_limit_window: "interval", key_concurrency: "int", fair: "boolean",
} as const
const schedule = {
	name: "text", cron: "text", queue: "text", workflow: "text", handler: "text", input: "jsonb", timezone: "text", overlap: "text",
	catch_up: "text", priority: "int", timeout: "interval", jitter: "interval", starts_at: "timestamptz", ends_at: "timestamptz",
	max_recovery_attempts: "int", app_version: "text",
} as const

export const actions = {
	pause: { fn: "pause_tree", args: workflow },
	resume: { fn: "resume_tree", args: workflow },
	cancel: { fn: "cancel_tree", args: workflow },
	request_cancel: { fn: "request_cancel", args: { workflow_id: "uuid", reason: "text", grace: "interval" } },
	resume_failed: { fn: "resume_failed", args: { workflow_id: "uuid", from_sequence: "int" } },
	fork: {
		fn: "fork",
		args: { workflow_id: "uuid", from_sequence: "int", name: "text", input: "jsonb", queue: "text", run_at: "timestamptz", app_version: "text" },
	},
	signal: { fn: "signal", args: { workflow_id: "uuid", name: "text", payload: "jsonb", key: "text" } },
	answer: { fn: "answer", args: { step_id: "uuid", output: "jsonb", error: "text" } },
	set_timeout: { fn: "set_timeout", args: { task_id: "uuid", timeout: "interval" } },
	set_tags: { fn: "set_tags", args: { workflow_id: "uuid", tags: "jsonb" } },
	release: { fn: "release", args: { executor_id: "text", workflow_id: "uuid", run_at: "timestamptz" } },
	release_executor: { fn: "release", args: { executor_id: "text" } },

	create_queue: { fn: "create_queue", args: limits },
	alter_queue: { fn: "alter_queue", args: limits },
	pause_queue: { fn: "pause_queue", args: named },
	resume_queue: { fn: "resume_queue", args: named },
	drain_queue: { fn: "drain_queue", args: { name: "text", max_rows: "int" } },
	drop_queue: { fn: "drop_queue", args: named },

	create_schedule: { fn: "create_schedule", args: schedule },
	alter_schedule: { fn: "alter_schedule", args: schedule },
	pause_schedule: { fn: "pause_schedule", args: named },
	resume_schedule: { fn: "resume_schedule", args: named },
	trigger_schedule: { fn: "trigger_schedule", args: named },
	backfill_schedule: { fn: "backfill_schedule", args: { name: "text", from_time: "timestamptz", to_time: "timestamptz" } },
	drop_schedule: { fn: "drop_schedule", args: named },
} as const satisfies Record<string, Action>

export type ActionName = keyof typeof actions

/** What can be done to all workflows that match a filter, and the status that they must have for it. */
export const bulkActions: Record<string, { many?: string; statuses: string[] }> = {
	pause: { statuses: ["PENDING", "RUNNING"] },
	resume: { statuses: ["PAUSED"] },
	cancel: { many: "cancel_many", statuses: ["PENDING", "RUNNING", "PAUSED"] },
	resume_failed: { many: "resume_failed_many", statuses: ["FAILED"] },
}

/** Arguments of which nothing was said are left out: the function's defaults hold. */
export type ActionArgs = Record<string, unknown>

export function givenArgs(name: ActionName, args: ActionArgs): [string, ArgType, unknown][] {
	return Object.entries(actions[name].args as Record<string, ArgType>)
		.filter(([arg]) => args[arg] !== undefined)
		.map(([arg, type]) => [arg, type, args[arg]])
}

export function literal(value: unknown, type: ArgType): string {
	if (value === null) return "NULL"
	if (type === "int" || type === "boolean") return String(value)
	const text = type === "jsonb" ? JSON.stringify(value) : String(value)
	const quoted = text.replaceAll("'", "''")
	return text.includes("\\") ? `E'${quoted.replaceAll("\\", "\\\\")}'` : `'${quoted}'`
}

/** The statement as a person would type it. */
export function actionSql(name: ActionName, args: ActionArgs): string {
	const given = givenArgs(name, args).map(([arg, type, value]) => `${arg} => ${literal(value, type)}`)
	return `SELECT * FROM durable.${actions[name].fn}(${given.join(", ")});`
}
