// What the server answers. Times are ISO texts, durations seconds.

export type Status = "PENDING" | "RUNNING" | "COMPLETED" | "FAILED" | "PAUSED" | "CANCELLED"
export const statuses: Status[] = ["FAILED", "RUNNING", "PENDING", "PAUSED", "COMPLETED", "CANCELLED"]

export interface Problem {
	/** connection: the database does not answer; setup: it has no extension, or the role no rights; refused: it said no */
	kind: "connection" | "setup" | "refused" | "request"
	code: string
	message: string
	detail?: string
	hint?: string
}

export interface Session {
	database: string
	role: string
	server: string
	extension: string | null
	/** the action's name, if the role may call its function (and the dashboard is not read-only) */
	actions: string[]
	bulk: string[]
	fields: { tags: boolean; graceful: boolean; check: boolean }
	readOnly: boolean
	hidePayloads: boolean
	user: string | null
	now: string
}

export interface Workflow {
	id: string
	parent_id: string | null
	sequence: number | null
	name: string
	handler: string | null
	status: Status
	queue_name: string | null
	executor_id: string | null
	recovery_count: number
	created_at: string
	started_at: string | null
	completed_at: string | null
	deadline: string | null
	run_at: string | null
	lease: number
	error: string | null
	concurrency_key?: string | null
	tags?: Record<string, unknown> | null
	cancel_requested_at?: string | null
	cancel_reason?: string | null
	/** why it is in this list, beside its status */
	note?: string
}

export interface Step {
	sequence: number
	step_id: string
	name: string
	kind: "WORKFLOW" | "STEP" | "TRANSACTION" | "WAIT"
	status: Status
	attempt: number | null
	started_at: string | null
	completed_at: string | null
	run_at: string | null
	child_id: string | null
	wait: string | null
	error: string | null
	retry_count: number
	max_retries: number
	preview: string | null
}

export interface Wait {
	workflow_id: string
	sequence: number
	step_id: string
	name: string
	wait: "sleep" | "signal" | "workflow" | "callback" | "any"
	signals: string[] | null
	awaited: string | null
	sequences: number[] | null
	since: string
	run_at: string | null
	root_name: string | null
	queue_name: string | null
}

export interface Event {
	n: number
	topic: string
	payload: string | null
	emitted_at: string
}

export interface WorkflowPage {
	now: string
	workflow: Workflow
	more: Record<string, unknown> | null
	ancestors: { id: string; name: string; status: Status }[]
	counts: Record<string, number>
	children: number
	/** differs whenever some step does */
	version: string
	failed: Step[]
	open: Step[]
	waits: Wait[]
	last_event: number
	executor: Executor | null
	queue: Queue | null
	signals: { name: string; key: string | null; sent_at: string; sequence: number | null }[] | null
}

export interface Queue {
	name: string | null
	pending: number
	due: number
	oldest_due: number | null
	running: number
	paused: number
	stale: number
	stale_executors: number
	retries_waiting: number
	completed_last_minute: number
	failed_last_minute: number
	cancelled_last_minute: number
	queue_paused: boolean
	max_concurrency: number | null
	rate_limit: number | null
	rate_limit_window: number | null
	rate_limit_window_text: string | null
	waiting_for_version: number
	suspended: number
	key_concurrency: number | null
	fair: boolean
}

export interface Executor {
	executor_id: string
	last_seen: string | null
	app_version: string | null
	bound: boolean
	alive: boolean
	why: string | null
	running: number
}

export interface Schedule {
	name: string
	cron: string
	queue: string
	workflow: string | null
	handler: string | null
	input: unknown
	timezone: string
	overlap: string
	catch_up: string
	priority: number
	timeout: string | null
	jitter: string
	starts_at: string | null
	ends_at: string | null
	max_recovery_attempts: number
	app_version: string | null
	next_run_at: string | null
	paused: boolean
	last_run_at: string | null
	last_workflow_id: string | null
	waiting_for: string | null
	skipped: number
	error: string | null
	next: string[]
}

/** Ended in each slot of time; of a queue, or ("") of all. */
export interface Rate {
	t: number
	completed: number
	failed: number
	due: number
	running: number
}

export interface Check {
	state: "unknown" | "running" | "done" | "error"
	at: string | null
	seconds: number | null
	problems: { task_id: string | null; problem: string }[]
	message: string | null
}

export interface Overview {
	now: string
	queues: Queue[]
	rates: Record<string, Rate[]>
	counts: Record<string, number>
	failures: Workflow[]
	executors: Executor[]
	schedules: Schedule[]
	stuck: Workflow[]
	check: Check | null
}

export interface WorkflowList {
	now: string
	rows: Workflow[]
	waits?: Wait[]
	next: string | null
	previous: string | null
	counts: Record<string, number>
}
