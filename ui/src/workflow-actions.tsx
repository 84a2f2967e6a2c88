// What can be done to one workflow.

import { useState } from "preact/hooks"
import type { Wait, Workflow } from "../shared/types.ts"
import { ActionButton, changed, type Result } from "./actions.tsx"
import { go, plural } from "./lib.ts"
import { useCan, useSession } from "./ui.tsx"

export const isFinished = (status: string) => status === "COMPLETED" || status === "FAILED" || status === "CANCELLED"

const released = (result: Result) =>
	Number(Object.values(result ?? {})[0]) > 0 ? "Released: the next worker takes it up" : "Nothing to release: the executor does not drive it any more"

export function Pause({ workflow, onHint }: { workflow: Workflow; onHint?: (sql: string | null) => void }) {
	return <ActionButton label="Pause" action="pause" args={{ workflow_id: workflow.id }} done={changed("Paused")} onHint={onHint} />
}
export function Resume({ workflow, kind, onHint }: { workflow: Workflow; kind?: "primary"; onHint?: (sql: string | null) => void }) {
	return <ActionButton label="Resume" action="resume" args={{ workflow_id: workflow.id }} done={changed("Resumed")} kind={kind} onHint={onHint} />
}

export function ResumeFailed({ workflow, failedAt, kind, onHint }: { workflow: Workflow; failedAt?: number[]; kind?: "primary"; onHint?: (sql: string | null) => void }) {
	return (
		<ActionButton
			label="Resume failed" action="resume_failed" kind={kind} onHint={onHint}
			form={() => ({
				title: `Resume ${workflow.name}`, label: "Resume failed", fixed: { workflow_id: workflow.id },
				about: <p>Its failed steps run again, and the program goes on from its last completed step. Nothing that was completed is done twice.</p>,
				fields: [{
					arg: "from_sequence", label: "From position", kind: "int",
					hint: failedAt?.length ? `Failures before it are kept. Failed: ${failedAt.join(", ")}. Empty: all of them run again.` : "Failures before it are kept. Empty: all of them run again.",
				}],
				done: (result) => `Resumed: it is ${String(result?.status ?? "").toLowerCase()} under lease ${result?.lease}`,
			})}
		/>
	)
}

export function Release({ workflow, kind, onHint }: { workflow: Workflow; kind?: "primary"; onHint?: (sql: string | null) => void }) {
	if (!workflow.executor_id) return null
	return (
		<ActionButton
			label="Release" action="release" kind={kind} onHint={onHint}
			form={() => ({
				title: `Release ${workflow.name}`, label: "Release", fixed: { executor_id: workflow.executor_id, workflow_id: workflow.id },
				about: <p>Takes the workflow away from executor <bdi>{workflow.executor_id}</bdi>, under a new lease: whoever still drives it can record nothing more. {workflow.queue_name ? "Any worker of its queue takes it up." : "It has no queue: recover takes it up."}</p>,
				fields: [{ arg: "run_at", label: "Not before", kind: "time", hint: "Empty: at once." }],
				done: released,
			})}
		/>
	)
}

export function Answer({ waits, selected, kind, onHint }: { waits: Wait[]; selected: string | null; kind?: "primary"; onHint?: (sql: string | null) => void }) {
	const rank = (wait: Wait) => (wait.step_id === selected ? 2 : wait.wait === "callback" ? 1 : 0)
	const [first] = [...waits].sort((a, b) => rank(b) - rank(a))
	if (!first) return null
	return (
		<ActionButton
			label="Answer" action="answer" kind={kind} onHint={onHint}
			form={() => ({
				title: waits.length === 1 ? `Answer ${first.name}` : "Answer an open wait", label: "Answer",
				about: <p>Ends the wait with this output, or, if an error is given, lets it fail for good.</p>,
				fields: [
					{ arg: "step_id", label: "Wait", kind: "choice", initial: first.step_id, full: true, choices: waits.map((wait) => ({ value: wait.step_id, label: `${wait.sequence}. ${wait.name} (${wait.wait})` })) },
					{ arg: "output", label: "Output (JSON)", kind: "json" },
					{ arg: "error", label: "Error", kind: "text", full: true },
				],
				done: (result) => (Object.values(result ?? {})[0] ? "Answered" : "It had been answered so before"),
			})}
		/>
	)
}

export function Signal({ workflow, waits, kind, onHint }: { workflow: Workflow; waits: Wait[]; kind?: "primary"; onHint?: (sql: string | null) => void }) {
	const names = [...new Set(waits.flatMap((wait) => wait.signals ?? (wait.wait === "signal" ? [wait.name] : [])))]
	return (
		<ActionButton
			label="Signal" action="signal" kind={kind} onHint={onHint}
			form={() => ({
				title: `Signal ${workflow.name}`, label: "Signal", fixed: { workflow_id: workflow.id },
				about: names.length ? <p>It waits for <bdi>{names.join(", ")}</bdi>.</p> : <p>Nothing waits for a signal now: it is kept until a wait of that name takes it.</p>,
				fields: [
					{ arg: "name", label: "Name", kind: "text", initial: names[0] ?? "", suggestions: names, required: true },
					{ arg: "key", label: "Key", kind: "text", hint: "A second signal of that key is not sent." },
					{ arg: "payload", label: "Payload (JSON)", kind: "json" },
				],
				done: (result) => (Object.values(result ?? {})[0] ? "Signal sent" : "Not sent: there was one of that key before"),
			})}
		/>
	)
}

export function SetTimeout({ workflow, kind, onHint }: { workflow: Workflow; kind?: "primary"; onHint?: (sql: string | null) => void }) {
	return (
		<ActionButton
			label="Set timeout" action="set_timeout" kind={kind} onHint={onHint}
			form={() => ({
				title: `Timeout of ${workflow.name}`, label: "Set timeout", fixed: { task_id: workflow.id },
				about: <p>Its deadline becomes the time at which it was started, and so long after.</p>,
				fields: [{ arg: "timeout", label: "Timeout", kind: "interval", nullable: true, hint: "For example 2 hours, or 1 day. Empty: no deadline." }],
				done: "Timeout set",
			})}
		/>
	)
}

export function Cancel({ workflow, onHint }: { workflow: Workflow; onHint?: (sql: string | null) => void }) {
	return (
		<ActionButton
			label="Cancel" action="cancel" kind="danger" onHint={onHint}
			form={() => ({
				title: `Cancel ${workflow.name}?`, label: "Cancel workflow", dismiss: "Keep it", danger: true, fixed: { workflow_id: workflow.id },
				about: <p>It and all that is unfinished below it end for good. What a step is doing outside of the database now stays done, but its outcome is not recorded.</p>,
				done: changed("Cancelled"),
			})}
		/>
	)
}

function RequestCancel({ workflow, onHint }: { workflow: Workflow; onHint: (sql: string | null) => void }) {
	return (
		<ActionButton
			label="Ask to end" action="request_cancel" onHint={onHint}
			form={() => ({
				title: `Ask ${workflow.name} to end`, label: "Ask to end", dismiss: "Keep it", fixed: { workflow_id: workflow.id },
				about: <p>It is told once, at its next wait or step, and can still undo what it has done. After the grace it is cancelled.</p>,
				fields: [
					{ arg: "reason", label: "Reason", kind: "text" },
					{ arg: "grace", label: "Grace", kind: "interval", hint: "For example 5 minutes. Empty: as long as it takes." },
				],
				done: (result) => `Asked: ${plural(Number(Object.values(result ?? {})[0] ?? 0), "workflow")}`,
			})}
		/>
	)
}

function Fork({ workflow, input, at, onHint }: { workflow: Workflow; input: string | null; at: number; onHint: (sql: string | null) => void }) {
	let pretty = input ?? ""
	try {
		pretty = input ? JSON.stringify(JSON.parse(input), null, 2) : ""
	} catch { /* as it is */ }
	const isActive = !isFinished(workflow.status) && !workflow.parent_id
	return (
		<ActionButton
			label="Fork" action="fork" onHint={onHint}
			form={() => ({
				title: `Fork ${workflow.name}`, label: "Fork", fixed: { workflow_id: workflow.id },
				about: <p>A new workflow begins with a copy of all positions before this one, and goes on from there. The original stays as it is.</p>,
				fields: [
					{ arg: "from_sequence", label: "From position", kind: "int", initial: String(at), required: true },
					{ arg: "name", label: "Name", kind: "text", initial: isActive ? `${workflow.name} fork` : "", hint: "Empty: the same name." },
					{ arg: "queue", label: "Queue", kind: "text", initial: workflow.queue_name ?? "", hint: "Empty: none." },
					{ arg: "run_at", label: "Not before", kind: "time" },
					{ arg: "input", label: "Input (JSON)", kind: "json", initial: pretty, unlessChanged: true },
				],
				done: "Forked",
				then: (result) => result?.workflow_id && go(`/workflows/${result.workflow_id}`),
			})}
		/>
	)
}

function Tags({ workflow, onHint }: { workflow: Workflow; onHint: (sql: string | null) => void }) {
	return (
		<ActionButton
			label="Set tags" action="set_tags" onHint={onHint}
			form={() => ({
				title: `Tags of ${workflow.name}`, label: "Set tags", fixed: { workflow_id: workflow.id },
				fields: [{ arg: "tags", label: "Tags (a JSON object)", kind: "json", initial: JSON.stringify(workflow.tags ?? {}, null, 2) }],
				done: "Tags set",
			})}
		/>
	)
}

/** All that can be done to it in the status that it has. */
export function WorkflowActions({ workflow, waits, selected, mend, failedAt, input, forkAt }: {
	workflow: Workflow; waits: Wait[]; selected: string | null; mend: string | null; failedAt: number[]; input: string | null; forkAt: number
}) {
	const [hint, onHint] = useState<string | null>(null)
	const session = useSession()
	const can = useCan()
	if (!session.actions.length) return null
	const { status } = workflow
	const open = !isFinished(status)
	const more = (action: string) => ({ onHint, kind: action === mend ? ("primary" as const) : undefined })
	return (
		<div class="actions" role="group" aria-label="Actions">
			<div class="buttons">
				{status === "FAILED" && <ResumeFailed workflow={workflow} failedAt={failedAt} {...more("resume_failed")} />}
				{status === "PAUSED" && <Resume workflow={workflow} {...more("resume")} />}
				{status === "RUNNING" && <Release workflow={workflow} {...more("release")} />}
				{waits.length > 0 && <Answer waits={waits} selected={selected} {...more("answer")} />}
				{open && <Signal workflow={workflow} waits={waits} {...more("signal")} />}
				{open && <SetTimeout workflow={workflow} {...more("set_timeout")} />}
				{(status === "PENDING" || status === "RUNNING") && <Pause workflow={workflow} onHint={onHint} />}
				{can("fork") && <Fork workflow={workflow} input={input} at={forkAt} onHint={onHint} />}
				{can("set_tags") && <Tags workflow={workflow} onHint={onHint} />}
				{open && can("request_cancel") && <RequestCancel workflow={workflow} onHint={onHint} />}
				{open && <Cancel workflow={workflow} onHint={onHint} />}
			</div>
			<code class="sql-hint" aria-hidden="true">{hint ?? ""}</code>
		</div>
	)
}
