// One workflow: what is wrong with it, what can be done, and all that it has done.

import type { ComponentChildren } from "preact"
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import type { Event as Said, Step, Wait, WorkflowPage as Data } from "../../shared/types.ts"
import { api, duration, exact, firstLine, go, number, plural, problemOf, serverNow, useLive, useTick } from "../lib.ts"
import { isFinished, WorkflowActions } from "../workflow-actions.tsx"
import { ActionButton } from "../actions.tsx"
import { Copy, Elapsed, Empty, ErrorText, Foreign, Id, Json, Link, Loaded, Rows, Shape, Status, Time, Trouble, useSession } from "../ui.tsx"
import type { Problem } from "../../shared/types.ts"
import { queueLink } from "./queues.tsx"

const tabs = [["history", "History"], ["timeline", "Timeline"], ["tree", "Tree"], ["events", "Events"]] as const

export function WorkflowPage({ id, query }: { id: string; query: URLSearchParams }) {
	const live = useLive<Data>(`/workflows/${id}`)
	const name = live.data?.workflow.name
	useEffect(() => {
		document.title = name ? `${name} · Workflow` : "Workflow"
	}, [name])
	return (
		<>
			{!live.data && <h1>Workflow</h1>}
			<Loaded live={live}>{(data) => <Body data={data} query={query} />}</Loaded>
		</>
	)
}

interface Payload { input: string | null; output: string | null; error: string | null; detail?: string | null }

function usePayload(id: string | null, version: string): { payload: Payload | null; problem: Problem | null } {
	const [state, set] = useState<{ id: string | null; payload: Payload | null; problem: Problem | null }>({ id: null, payload: null, problem: null })
	useEffect(() => {
		if (!id) return
		let isOver = false
		api<Payload>(`/tasks/${id}`).then(
			(payload) => !isOver && set({ id, payload, problem: null }),
			(error) => !isOver && set({ id, payload: null, problem: problemOf(error) }))
		return () => void (isOver = true)
	}, [id, version])
	return state.id === id ? state : { payload: null, problem: null }
}

/** All steps; of those that were fetched before only what can have changed is fetched again. */
function useSteps(id: string, version: string, lease: number): { steps: Step[] | null; problem: Problem | null } {
	const [state, set] = useState<{ steps: Step[] | null; problem: Problem | null }>({ steps: null, problem: null })
	const known = useRef<{ steps: Step[]; lease: number } | null>(null)
	useEffect(() => {
		let isOver = false
		const before = known.current?.lease === lease ? known.current.steps : []
		const open = before.findIndex((step) => !isFinished(step.status))
		const keep = open < 0 ? before.length : open
		const from = keep ? before[keep - 1].sequence + 1 : 0
		api<{ steps: Step[] }>(`/workflows/${id}/steps?from=${from}`).then(
			({ steps }) => {
				if (isOver) return
				const all = [...before.slice(0, keep), ...steps]
				known.current = { steps: all, lease }
				set({ steps: all, problem: null })
			},
			(error) => !isOver && set({ steps: known.current?.steps ?? null, problem: problemOf(error) }))
		return () => void (isOver = true)
	}, [id, version, lease])
	return state
}

function Body({ data, query }: { data: Data; query: URLSearchParams }) {
	const { workflow } = data
	const { hidePayloads } = useSession()
	const { payload, problem } = usePayload(workflow.id, `${workflow.status} ${workflow.lease}`)
	const { steps, problem: stepsProblem } = useSteps(workflow.id, data.version, workflow.lease)
	const tab = tabs.find(([name]) => name === query.get("tab"))?.[0] ?? "history"
	const total = Object.values(data.counts).reduce((sum, n) => sum + n, 0)
	const failedAt = data.failed.map((step) => step.sequence).sort((a, b) => a - b)

	const to = (changes: Record<string, string | null>) => {
		const next = new URLSearchParams(query)
		for (const [key, value] of Object.entries(changes)) value === null ? next.delete(key) : next.set(key, value)
		return `/workflows/${workflow.id}${next.size ? `?${next}` : ""}`
	}
	useTick()
	const { lines, mend } = diagnose(data)
	const selected = query.get("step") === null ? null : steps?.find((step) => step.sequence === Number(query.get("step"))) ?? null

	return (
		<article class="workflow">
			{data.ancestors.length > 0 && (
				<nav class="ancestors" aria-label="Ancestors">
					{data.ancestors.map((one) => <span key={one.id}><Shape of={one.status} /> <Link to={`/workflows/${one.id}`}><Foreign>{one.name}</Foreign></Link><span class="faint"> › </span></span>)}
				</nav>
			)}
			<div class="title">
				<h1><Foreign>{workflow.name}</Foreign></h1>
				<Status status={workflow.status} />
				<Id id={workflow.id} />
			</div>
			<Diagnosis lines={lines} />
			<WorkflowActions workflow={workflow} waits={data.waits} selected={selected?.step_id ?? null} mend={mend} failedAt={failedAt} input={payload?.input ?? null} forkAt={failedAt[0] ?? total} />
			<Facts data={data} />
			<div class="payloads">
				<section aria-labelledby="input-title"><h2 id="input-title">Input</h2>{hidePayloads ? <p class="faint">Hidden: the dashboard runs with --hide-payloads.</p> : payload ? <Json text={payload.input} label="Input" /> : <Waiting problem={problem} />}</section>
				<section aria-labelledby="output-title"><h2 id="output-title">{workflow.status === "FAILED" ? "Error" : "Output"}</h2>
					{workflow.status === "FAILED" ? (payload ? (payload.error ? <ErrorText text={payload.error} /> : <p class="faint">No error was given.</p>) : <Waiting problem={problem} />)
						: hidePayloads ? <p class="faint">Hidden.</p> : payload ? <Json text={payload.output} label="Output" /> : <Waiting problem={problem} />}
				</section>
			</div>

			<div class="tabs" role="tablist" aria-label="What it has done">
				{tabs.map(([name, label]) => (
					<button
						key={name} type="button" role="tab" id={`tab-${name}`} aria-selected={tab === name} aria-controls="tab-panel" tabIndex={tab === name ? 0 : -1}
						onClick={() => go(to({ tab: name === "history" ? null : name }), true)}
						onKeyDown={(event) => {
							const move = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0
							if (!move) return
							const next = tabs[(tabs.findIndex(([one]) => one === name) + move + tabs.length) % tabs.length][0]
							go(to({ tab: next === "history" ? null : next }), true)
							document.getElementById(`tab-${next}`)!.focus()
						}}
					>
						{label}<span class="badge">{number(name === "events" ? data.last_event : name === "tree" ? data.children : total)}</span>
					</button>
				))}
			</div>
			<div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
				{stepsProblem && <Trouble problem={stepsProblem} />}
				{tab === "events" ? <Events id={workflow.id} last={data.last_event} />
					: !steps ? <div class="skeleton" aria-busy="true">{Array.from({ length: 6 }, (_, i) => <div key={i} />)}</div>
					: steps.length === 0 ? <Empty title="No step yet."><p>{workflow.status === "PENDING" ? "It waits to be claimed from its queue." : "Its program has not claimed a step."}</p></Empty>
					: tab === "tree" ? <Tree root={workflow.id} steps={steps} />
					: tab === "timeline" ? <Timeline data={data} steps={steps} link={(step) => to({ step: String(step.sequence), tab: null })} />
					: (
						<div class={selected ? "history with-step" : "history"}>
							<History steps={steps} selected={selected} link={(step) => to({ step: String(step.sequence) })} />
							{selected && <StepPanel key={selected.step_id} step={selected} wait={data.waits.find((wait) => wait.step_id === selected.step_id)} onClose={() => go(to({ step: null }), true)} />}
						</div>
					)}
			</div>
		</article>
	)
}

const Waiting = ({ problem }: { problem: Problem | null }) => (problem ? <Trouble problem={problem} /> : <p class="faint" aria-busy="true">…</p>)

// ---- what is wrong --------------------------------------------------------------------------

interface Finding { key: string; bad: boolean; text: ComponentChildren; mend?: ComponentChildren }

/** What keeps it from its end, and the action that mends the first of it. */
function diagnose(data: Data): { lines: Finding[]; mend: string | null } {
	const { workflow, executor, queue, waits } = data
	const now = serverNow()
	const lines: Finding[] = []
	let mend: string | null = null
	const find = (line: Finding, by?: string) => {
		lines.push(line)
		mend ??= by ?? null
	}

	if (workflow.status === "FAILED") {
		const step = data.failed[0]
		find({
			key: "failed", bad: true,
			text: <>Failed <Time at={workflow.completed_at} />{step ? <> at <Link to={`/workflows/${workflow.id}?step=${step.sequence}`}>{step.sequence}. <Foreign>{step.name}</Foreign></Link></> : null}{workflow.error ? <>: <Foreign>{firstLine(workflow.error).slice(0, 300)}</Foreign></> : null}</>,
		}, "resume_failed")
	}
	if (workflow.status === "PAUSED") {
		const by = data.more?.paused_by as string | undefined
		const at = data.more?.paused_at as string | undefined
		const above = by && by !== workflow.id ? by : null
		find({
			key: "paused", bad: false,
			text: <>Paused{at ? <> <Time at={at} /></> : null}{above ? <>, together with <Link to={`/workflows/${above}`}>a workflow above it</Link></> : null}: nothing begins until it is resumed</>,
		}, above ? undefined : "resume")
	}
	if (workflow.status === "RUNNING" && executor && !executor.alive)
		find({
			key: "stale", bad: true,
			text: <>Nobody drives it: executor <Foreign>{executor.executor_id}</Foreign> {executor.why === "session ended" ? "has ended" : "is silent"}, last seen <Time at={executor.last_seen} /></>,
		}, "release")
	if (workflow.deadline && !isFinished(workflow.status)) {
		const left = Date.parse(workflow.deadline) - now
		if (left < 5 * 60_000) find({ key: "deadline", bad: left <= 0, text: <>{left <= 0 ? "Past its deadline" : "Its deadline is near"}: <Time at={workflow.deadline} /></> }, "set_timeout")
	}
	if (workflow.status === "PENDING" && queue?.queue_paused)
		find({
			key: "queue", bad: false, text: <>Its queue <Link to={queueLink(queue.name!)}><Foreign>{queue.name!}</Foreign></Link> is paused</>,
			mend: <ActionButton label="Resume queue" action="resume_queue" args={{ name: queue.name }} done={`Queue ${queue.name} resumed`} kind="primary" />,
		})
	else if (workflow.status === "PENDING" && workflow.error && !waits.length)
		find({ key: "retry", bad: false, text: <>Has failed, tries again <Time at={workflow.run_at} />: <Foreign>{firstLine(workflow.error).slice(0, 300)}</Foreign></> })
	else if (workflow.status === "PENDING" && !waits.length)
		find({
			key: "pending", bad: false,
			text: workflow.run_at && Date.parse(workflow.run_at) > now ? <>Begins <Time at={workflow.run_at} /></>
				: workflow.queue_name ? <>Waits to be claimed{queue ? <>: {plural(queue.due, "workflow")} due in <Link to={queueLink(queue.name!)}><Foreign>{queue.name!}</Foreign></Link>, {number(queue.running)}{queue.max_concurrency === null ? "" : ` of ${number(queue.max_concurrency)}`} running</> : null}</>
				: <>Nobody drives it: recover, or start by its name, takes it up</>,
		})
	for (const step of data.open)
		if (step.kind !== "WAIT" && step.status === "PENDING" && step.run_at)
			find({ key: `r ${step.sequence}`, bad: false, text: <>Step <Link to={`/workflows/${workflow.id}?step=${step.sequence}`}>{step.sequence}. <Foreign>{step.name}</Foreign></Link> has failed {plural(step.attempt ?? 0, "time")}, tries again <Time at={step.run_at} />{step.error ? <>: <Foreign>{firstLine(step.error).slice(0, 200)}</Foreign></> : null}</> })
	for (const wait of waits.slice(0, 5))
		find({
			key: wait.step_id, bad: false,
			text: <>Waits for <WaitText wait={wait} />, for <Elapsed from={wait.since} to={null} /> now{wait.run_at && wait.wait !== "sleep" ? <>, ends by itself <Time at={wait.run_at} /></> : null}</>,
		}, wait.wait === "signal" ? "signal" : wait.wait === "callback" ? "answer" : undefined)
	if (waits.length > 5) find({ key: "waits", bad: false, text: <>and for {waits.length - 5} more</> })
	return { lines, mend }
}

function Diagnosis({ lines }: { lines: Finding[] }) {
	if (!lines.length) return null
	return (
		<section class="wrong" aria-label="State">
			<ul>
				{lines.map((line) => <li key={line.key} class={line.bad ? "is-bad" : ""}><Shape of={line.bad ? "FAILED" : line.key === "paused" || line.key === "queue" ? "PAUSED" : "WAIT"} /><span class="what">{line.text}</span><span class="mend">{line.mend}</span></li>)}
			</ul>
		</section>
	)
}

function WaitText({ wait }: { wait: Wait }) {
	switch (wait.wait) {
		case "signal": return <>signal <strong><Foreign>{(wait.signals ?? [wait.name]).join(", ")}</Foreign></strong></>
		case "callback": return <>the answer to <strong><Foreign>{wait.name}</Foreign></strong></>
		case "workflow": return <><Link to={`/workflows/${wait.awaited}`}>another workflow</Link> (<Foreign>{wait.name}</Foreign>)</>
		case "any": return <>the first of positions {wait.sequences?.join(", ")} (<Foreign>{wait.name}</Foreign>)</>
		case "sleep": return <>a time (<Foreign>{wait.name}</Foreign>): <Time at={wait.run_at} /></>
	}
}

// ---- facts ----------------------------------------------------------------------------------

function Facts({ data }: { data: Data }) {
	const { workflow, more, executor } = data
	const facts: [string, ComponentChildren][] = [
		["Handler", workflow.handler === null ? null : <Foreign>{workflow.handler}</Foreign>],
		["Queue", workflow.queue_name === null ? null : <Link to={queueLink(workflow.queue_name)}><Foreign>{workflow.queue_name}</Foreign></Link>],
		["Executor", workflow.executor_id ? <><Foreign>{workflow.executor_id}</Foreign>{executor ? <span class={executor.alive ? "faint" : "bad-text"}> {executor.alive ? "alive" : executor.why}</span> : null}</> : null],
		["Created", <Time at={workflow.created_at} />],
		["Started", workflow.started_at && <Time at={workflow.started_at} />],
		[isFinished(workflow.status) ? "Ended" : "Runs for", isFinished(workflow.status) ? <><Time at={workflow.completed_at} />{workflow.started_at && <span class="faint">, took <Elapsed from={workflow.started_at} to={workflow.completed_at} /></span>}</> : workflow.started_at && <Elapsed from={workflow.started_at} to={null} />],
		["Deadline", workflow.deadline && <Time at={workflow.deadline} />],
		["Not before", workflow.run_at && workflow.status === "PENDING" && <Time at={workflow.run_at} />],
		["Lease", number(workflow.lease)],
		["Recoveries", workflow.recovery_count ? number(workflow.recovery_count) : null],
		["Key", workflow.concurrency_key ? <Foreign>{workflow.concurrency_key}</Foreign> : null],
		["Position in parent", workflow.sequence !== null ? number(workflow.sequence) : null],
		["Priority", more?.priority ? String(more.priority) : null],
		["Version", more?.app_version ? <Foreign>{String(more.app_version)}</Foreign> : null],
		["Suspended", more?.suspended_at ? <Time at={String(more.suspended_at)} /> : null],
		["Schedule", more?.scheduled_by ? <Foreign>{String(more.scheduled_by)}</Foreign> : null],
		["Forked from", more?.forked_from ? <Link to={`/workflows/${more.forked_from}`}>{String(more.forked_from)}</Link> : null],
		["Continued from", more?.continued_from ? <Link to={`/workflows/${more.continued_from}`}>{String(more.continued_from)}</Link> : null],
		["Retries", more?.max_retries ? `${more.retry_count ?? 0} of ${more.max_retries}` : null],
		["Cancel requested", workflow.cancel_requested_at ? <><Time at={workflow.cancel_requested_at} />{workflow.cancel_reason ? <>: <Foreign>{workflow.cancel_reason}</Foreign></> : null}</> : null],
		["Tags", workflow.tags && Object.keys(workflow.tags).length ? Object.entries(workflow.tags).map(([key, value]) => <span key={key} class="tag"><bdi>{key}: {typeof value === "string" ? value : JSON.stringify(value)}</bdi></span>) : null],
		["Signals", data.signals?.length ? <SignalsSent signals={data.signals} /> : null],
	]
	return <dl class="facts">{facts.filter(([, value]) => value !== null && value !== false && value !== undefined && value !== "").map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
}

function SignalsSent({ signals }: { signals: NonNullable<Data["signals"]> }) {
	const open = signals.filter((one) => one.sequence === null)
	const text = signals.map((one) => `${one.name}${one.key ? ` (${one.key})` : ""}, ${one.sequence === null ? "not taken" : `taken at ${one.sequence}`}`).join("\n")
	return <span title={text}>{open.length ? `${open.length} not taken` : `${signals.length} taken`}</span>
}

// ---- history --------------------------------------------------------------------------------

const kindNames: Record<string, string> = { WORKFLOW: "child", STEP: "", TRANSACTION: "transaction", WAIT: "wait" }
export const kindText = (step: Step) => (step.kind === "WAIT" ? `wait: ${step.wait ?? ""}` : kindNames[step.kind])

const shapeOf = (step: Step) => (step.kind === "WAIT" && step.status === "PENDING" ? "WAIT" : step.status)

function History({ steps, selected, link }: { steps: Step[]; selected: Step | null; link: (step: Step) => string }) {
	const [text, setText] = useState("")
	const [status, setStatus] = useState("")
	const found = useMemo(() => {
		const wanted = text.trim().toLowerCase()
		return steps.filter((step) => (!status || step.status === status) &&
			(!wanted || step.name.toLowerCase().includes(wanted) || String(step.sequence) === wanted || step.step_id === wanted || step.error?.toLowerCase().includes(wanted) || step.preview?.toLowerCase().includes(wanted)))
	}, [steps, text, status])
	const place = selected ? found.indexOf(selected) : -1
	const [scrolled] = useState(place)
	return (
		<div class="history-list">
			<div class="history-head">
				<input type="search" aria-label="Search steps" placeholder="Search steps" autocomplete="off" spellcheck={false} value={text} onInput={(event) => setText((event.target as HTMLInputElement).value)} />
				<select aria-label="Status of steps" value={status} onChange={(event) => setStatus((event.target as HTMLSelectElement).value)}>
					<option value="">any status</option>
					{["FAILED", "RUNNING", "PENDING", "PAUSED", "COMPLETED", "CANCELLED"].map((one) => <option key={one} value={one}>{one.toLowerCase()}</option>)}
				</select>
				<span class="faint" role="status">{found.length === steps.length ? plural(steps.length, "step") : `${number(found.length)} of ${plural(steps.length, "step")}`}</span>
			</div>
			{found.length === 0 ? <Empty title="No step matches." /> : (
				<Rows
					rows={found} height={30} label="Steps" keyOf={(step) => step.step_id} scrollTo={scrolled >= 0 ? scrolled : undefined}
					row={(step) => (
						<Link to={link(step)} replace class={step === selected ? "step selected" : "step"} aria-current={step === selected ? "true" : undefined} data-row-link="">
							<span class="step-n">{step.sequence}</span>
							<Shape of={shapeOf(step)} />
							<span class="step-name"><bdi>{step.name}</bdi><span class="faint"> {kindText(step)}</span></span>
							<span class="step-attempt">{(step.attempt ?? 0) > 1 && step.kind !== "WAIT" ? `attempt ${step.attempt}` : ""}</span>
							<span class="step-time">{step.started_at ? <StepTime step={step} /> : ""}</span>
							<span class={step.error && step.status !== "COMPLETED" ? "step-text bad-text" : "step-text faint"}><bdi>{step.error && step.status !== "COMPLETED" ? firstLine(step.error) : step.preview === "null" ? "" : step.preview ?? ""}</bdi></span>
							<span class="hidden">{step.status.toLowerCase()}</span>
						</Link>
					)}
				/>
			)}
		</div>
	)
}

function StepTime({ step }: { step: Step }) {
	if (step.completed_at || step.status !== "PENDING") return <Elapsed from={step.started_at} to={step.completed_at} />
	return <Time at={step.run_at ?? step.started_at} />
}

function StepPanel({ step, wait, onClose }: { step: Step; wait: Wait | undefined; onClose: () => void }) {
	const { hidePayloads } = useSession()
	const { payload, problem } = usePayload(step.step_id, `${step.status} ${step.attempt}`)
	const ref = useRef<HTMLElement>(null)
	useEffect(() => {
		const onKey = (event: KeyboardEvent) => event.key === "Escape" && !(event.target as HTMLElement).closest("dialog") && onClose()
		addEventListener("keydown", onKey)
		return () => removeEventListener("keydown", onKey)
	}, [onClose])
	return (
		<aside class="panel" ref={ref} aria-label={`Step ${step.sequence}`}>
			<div class="head"><h2>{step.sequence}. <Foreign>{step.name}</Foreign></h2><button type="button" class="quiet" aria-label="Close step" onClick={onClose}>×</button></div>
			<p><Status status={step.status} /> <span class="faint">{kindText(step)}</span></p>
			{step.child_id && <p><Link to={`/workflows/${step.child_id}`} class="button">Open child</Link></p>}
			{wait && <p>Waits for <WaitText wait={wait} /></p>}
			<dl class="facts narrow">
				<div><dt>Step id</dt><dd><Id id={step.step_id} /></dd></div>
				{step.kind !== "WAIT" && step.attempt !== null && <div><dt>Attempt</dt><dd>{step.attempt}{step.max_retries ? <span class="faint"> of at most {step.max_retries + 1}</span> : null}</dd></div>}
				{step.started_at && <div><dt>Started</dt><dd><Time at={step.started_at} /></dd></div>}
				{step.completed_at && <div><dt>Ended</dt><dd><Time at={step.completed_at} /><span class="faint">, took <Elapsed from={step.started_at} to={step.completed_at} /></span></dd></div>}
				{step.run_at && step.status === "PENDING" && <div><dt>{step.kind === "WAIT" ? "Ends by itself" : "Tries again"}</dt><dd><Time at={step.run_at} /></dd></div>}
			</dl>
			{problem && <Trouble problem={problem} />}
			{payload?.error && <><h3>Error</h3><ErrorText text={payload.error} /></>}
			{payload?.detail && <><h3>Detail</h3><Json text={payload.detail} label="Detail" /></>}
			{hidePayloads ? <p class="faint">Payloads are hidden.</p> : payload && (
				<>
					<h3>Input</h3><Json text={payload.input} label="Step input" />
					<h3>Output</h3><Json text={payload.output} label="Step output" />
				</>
			)}
		</aside>
	)
}

// ---- timeline -------------------------------------------------------------------------------

function Timeline({ data, steps, link }: { data: Data; steps: Step[]; link: (step: Step) => string }) {
	const now = useTick()
	const { workflow } = data
	const starts = steps.filter((step) => step.started_at).map((step) => Date.parse(step.started_at!))
	const from = Math.min(Date.parse(workflow.created_at), ...starts.slice(0, 1))
	const finished = isFinished(workflow.status)
	// a wait that is long ahead does not press the rest into a corner
	const to = Math.max(from + 1, finished ? Math.max(Date.parse(workflow.completed_at ?? workflow.created_at), ...starts.slice(-1)) : now)
	const percent = (ms: number) => Math.max(0, Math.min(100, (100 * (ms - from)) / (to - from)))
	const marks = [0, 0.25, 0.5, 0.75, 1]
	return (
		<div class="timeline">
			<div class="axis" aria-hidden="true"><span /><div>{marks.map((mark) => <span key={mark} style={{ left: `${mark * 100}%` }}>{duration(mark * (to - from))}</span>)}</div></div>
			<Rows
				rows={steps} height={26} label="Timeline" keyOf={(step) => step.step_id}
				row={(step) => {
					const begin = step.started_at ? Date.parse(step.started_at) : null
					const end = step.completed_at ? Date.parse(step.completed_at) : finished && step.status !== "RUNNING" ? begin : now
					const retry = step.kind !== "WAIT" && step.status === "PENDING"
					const label = `${step.name}, ${step.status.toLowerCase()}${begin !== null ? `, began after ${duration(begin - from)}, ${step.completed_at ? `took ${duration(end! - begin)}` : "not ended"}` : ""}${(step.attempt ?? 0) > 1 ? `, attempt ${step.attempt}` : ""}`
					return (
						<Link to={link(step)} class="gantt" data-row-link="" aria-label={label} title={`${label}${step.started_at ? `\n${exact(step.started_at)}` : ""}`}>
							<span class="gantt-name"><span class="step-n">{step.sequence}</span><Shape of={shapeOf(step)} /><bdi>{step.name}</bdi></span>
							<span class="gantt-track">
								{begin !== null && <span class={`bar b-${step.status} ${step.kind === "WAIT" ? "b-wait" : ""} ${retry ? "b-retry" : ""}`} style={{ left: `${percent(begin)}%`, width: `max(3px, ${percent(end!) - percent(begin)}%)` }} />}
								{begin !== null && (step.attempt ?? 0) > 1 && step.kind !== "WAIT" && <span class="bar-label" style={{ left: `${Math.min(92, percent(end!))}%` }}>×{step.attempt}</span>}
							</span>
						</Link>
					)
				}}
			/>
		</div>
	)
}

// ---- tree -----------------------------------------------------------------------------------

interface Line { step: Step; depth: number; of: string }

function Tree({ root, steps }: { root: string; steps: Step[] }) {
	const [open, setOpen] = useState<Record<string, Step[] | "loading">>({})
	const [problem, setProblem] = useState<Problem | null>(null)
	const lines = useMemo(() => {
		const found: Line[] = []
		const walk = (of: string, list: Step[], depth: number) => {
			for (const step of list) {
				found.push({ step, depth, of })
				const below = step.child_id ? open[step.child_id] : undefined
				if (Array.isArray(below)) walk(step.child_id!, below, depth + 1)
			}
		}
		walk(root, steps, 0)
		return found
	}, [steps, open])

	async function toggle(id: string) {
		if (open[id]) {
			const { [id]: _, ...rest } = open
			return setOpen(rest)
		}
		setOpen((old) => ({ ...old, [id]: "loading" }))
		try {
			const { steps: below } = await api<{ steps: Step[] }>(`/workflows/${id}/steps`)
			setOpen((old) => ({ ...old, [id]: below }))
		} catch (error) {
			setProblem(problemOf(error))
			setOpen(({ [id]: _, ...rest }) => rest)
		}
	}
	return (
		<div class="tree">
			{problem && <Trouble problem={problem} />}
			<Rows
				rows={lines} height={28} label="Tree" keyOf={(line) => line.step.step_id}
				row={({ step, depth, of }) => (
					<div class="tree-line" style={{ paddingLeft: `${depth * 20 + 4}px` }}>
						{step.child_id ? (
							<button type="button" class="j-fold" aria-expanded={!!open[step.child_id]} aria-label={`${open[step.child_id] ? "Fold" : "Unfold"} ${step.name}`} onClick={() => toggle(step.child_id!)}>
								{open[step.child_id] === "loading" ? "…" : open[step.child_id] ? "▾" : "▸"}
							</button>
						) : <span class="no-fold" />}
						<span class="step-n">{step.sequence}</span>
						<Shape of={shapeOf(step)} />
						<Link to={step.child_id ? `/workflows/${step.child_id}` : `/workflows/${of}?step=${step.sequence}`} data-row-link=""><bdi>{step.name}</bdi></Link>
						<span class="faint">{kindText(step)}{(step.attempt ?? 0) > 1 && step.kind !== "WAIT" ? ` attempt ${step.attempt}` : ""}</span>
						<span class="hidden">{step.status.toLowerCase()}</span>
						<span class="step-time">{step.started_at ? <StepTime step={step} /> : ""}</span>
						{step.error && step.status !== "COMPLETED" && <span class="bad-text step-text"><bdi>{firstLine(step.error)}</bdi></span>}
						{Array.isArray(open[step.child_id ?? ""]) && (open[step.child_id!] as Step[]).length === 0 && <span class="faint">no step yet</span>}
					</div>
				)}
			/>
		</div>
	)
}

// ---- events ---------------------------------------------------------------------------------

function Events({ id, last }: { id: string; last: number }) {
	const [events, setEvents] = useState<Said[] | null>(null)
	const [problem, setProblem] = useState<Problem | null>(null)
	const [text, setText] = useState("")
	const { hidePayloads } = useSession()
	useEffect(() => {
		let isOver = false
		const seen = events?.at(-1)?.n
		if (seen !== undefined && seen >= last) return
		api<{ events: Said[] }>(`/workflows/${id}/events?after=${seen ?? Math.max(0, last - 200)}`).then(
			(answer) => !isOver && setEvents((old) => [...(old ?? []), ...answer.events.filter((one) => one.n > (old?.at(-1)?.n ?? 0))]),
			(error) => !isOver && setProblem(problemOf(error)))
		return () => void (isOver = true)
	}, [id, last, events])
	if (problem) return <Trouble problem={problem} />
	if (!events) return <p class="faint" aria-busy="true">…</p>
	if (!events.length) return <Empty title="It has said nothing."><p>What a workflow emits is shown here as it comes.</p></Empty>
	const first = events[0].n
	const wanted = text.trim().toLowerCase()
	const shown = [...events].reverse().filter((one) => !wanted || one.topic.toLowerCase().includes(wanted) || one.payload?.toLowerCase().includes(wanted))
	return (
		<div class="events">
			<div class="history-head">
				<input type="search" aria-label="Search events" placeholder="Search events" autocomplete="off" value={text} onInput={(event) => setText((event.target as HTMLInputElement).value)} />
				<span class="faint" role="status">{plural(shown.length, "event")}, the newest first</span>
				{first > 1 && <button type="button" onClick={async () => {
					const from = Math.max(0, first - 501)
					const { events: earlier } = await api<{ events: Said[] }>(`/workflows/${id}/events?after=${from}`)
					setEvents((old) => [...earlier.filter((one) => one.n < first), ...(old ?? [])])
				}}>Earlier events</button>}
			</div>
			<Rows
				rows={shown} height={28} label="Events" keyOf={(one) => String(one.n)}
				row={(one) => (
					<div class="event">
						<span class="step-n">{one.n}</span><span class="event-time"><Time at={one.emitted_at} /></span>
						<strong><bdi>{one.topic}</bdi></strong>
						<span class="step-text faint" title={one.payload ?? undefined}><bdi>{hidePayloads ? "hidden" : one.payload ?? ""}</bdi></span>
						{one.payload && <Copy text={one.payload} label="Copy payload" />}
					</div>
				)}
			/>
		</div>
	)
}

