// Find workflows, and act on all that match.

import type { Wait, Workflow, WorkflowList } from "../../shared/types.ts"
import { statuses } from "../../shared/types.ts"
import { BulkButtons } from "../actions.tsx"
import { firstLine, go, number, useLast, useLive } from "../lib.ts"
import { Elapsed, Empty, Foreign, Link, Loaded, Shape, Status, Time, useSession } from "../ui.tsx"

const views = [["", "All"], ["failed", "Failed"], ["stuck", "Stuck"], ["waiting", "Waiting"], ["suspended", "Suspended"]] as const
const filterNames = ["status", "queue", "handler", "name", "tags", "from", "to", "roots", "executor"] as const

const isPhone = matchMedia("(max-width: 760px)")

/** datetime-local has no zone: it is this person's. */
const localTime = (iso: string | null) => {
	if (!iso) return ""
	const date = new Date(iso)
	return Number.isNaN(date.getTime()) ? "" : new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

export function WorkflowsPage({ query }: { query: URLSearchParams }) {
	const { fields } = useSession()
	const view = query.get("view") ?? ""
	const path = `/workflows${query.size ? `?${query}` : ""}`
	const live = useLive<WorkflowList>(path)
	const counts = useLast(live.data)?.counts
	const executor = query.get("executor")
	const isList = view !== "stuck" && view !== "waiting"
	const only = view === "failed" ? "FAILED" : view === "suspended" ? "PENDING" : null

	function change(changes: Record<string, string | null>) {
		const next = new URLSearchParams(query)
		for (const name of ["after", "before"]) next.delete(name)
		for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name)
		go(`/workflows${next.size ? `?${next}` : ""}`)
	}
	const isFiltered = view !== "" || filterNames.some((name) => query.get(name))
	const text = (name: string, label: string, placeholder = "") => (
		<label>
			{label}
			<input
				type="text" key={query.get(name) ?? ""} autocomplete="off" spellcheck={false} placeholder={placeholder} defaultValue={query.get(name) ?? ""}
				onChange={(event) => change({ [name]: (event.target as HTMLInputElement).value })}
			/>
		</label>
	)
	const page = (name: string, id: string) => {
		const next = new URLSearchParams(query)
		for (const other of ["after", "before"]) next.delete(other)
		next.set(name, id)
		return `/workflows?${next}`
	}

	return (
		<>
			<h1>Workflows</h1>
			<nav class="views" aria-label="Views">
				{views.map(([name, label]) => (
					<Link key={name} to={name ? `/workflows?view=${name}` : "/workflows"} aria-current={view === name ? "page" : undefined}>
						{label}{name === "failed" && counts?.FAILED ? <span class="badge">{number(counts.FAILED)}</span> : null}
					</Link>
				))}
			</nav>
			{isList && (
				<details class="filter-box" open={!isPhone.matches || filterNames.some((name) => name !== "executor" && query.get(name))}>
					<summary>Filters</summary>
					<form class="filters" aria-label="Filters" onSubmit={(event) => {
						event.preventDefault()
						const form = event.currentTarget as HTMLFormElement
						// what was typed and not left yet
						;(document.activeElement as HTMLElement | null)?.closest("form") === form && (document.activeElement as HTMLElement).blur()
					}}>
						<label>
							Status
							<select value={only ?? query.get("status") ?? ""} disabled={only !== null} onChange={(event) => change({ status: (event.target as HTMLSelectElement).value })}>
								<option value="">any</option>
								{statuses.map((status) => <option key={status} value={status}>{status.toLowerCase()}{counts ? ` (${number(counts[status] ?? 0)})` : ""}</option>)}
							</select>
						</label>
						{text("name", "Name")}
						{text("queue", "Queue")}
						{text("handler", "Handler")}
						{fields.tags && text("tags", "Tags", "customer=42")}
						<label>Created from<input type="datetime-local" value={localTime(query.get("from"))} onChange={(event) => change({ from: isoOf(event) })} /></label>
						<label>to<input type="datetime-local" value={localTime(query.get("to"))} onChange={(event) => change({ to: isoOf(event) })} /></label>
						<label class="check"><input type="checkbox" checked={query.get("roots") === "1"} onChange={(event) => change({ roots: (event.target as HTMLInputElement).checked ? "1" : null })} />Roots only</label>
						{filterNames.some((name) => query.get(name)) && <button type="button" onClick={() => go(view ? `/workflows?view=${view}` : "/workflows")}>Clear filters</button>}
					</form>
				</details>
			)}
			{executor && <p class="about">What executor <Foreign>{executor}</Foreign> drives, paused ones too.</p>}
			{view === "stuck" && <p class="about">Nobody alive drives it; or a step has failed three times or more, or waits for its retry for more than five minutes; or the deadline is within five minutes.</p>}
			{view === "waiting" && <p class="about">Open waits: for a time, a signal, another workflow, or somebody's answer.</p>}
			{view === "suspended" && <p class="about">Workflows that have given their worker free until something happens.</p>}
			{isFiltered && (
				<BulkButtons filter={String(query)} names={bulkNames(view || (executor ? "executor" : ""), query.get("status"))} none={!live.data || live.data.rows.length + (live.data.waits?.length ?? 0) === 0} />
			)}
			<Loaded live={live}>
				{(data) => (
					<>
						{data.waits ? <Waits waits={data.waits} /> : data.rows.length ? <List rows={data.rows} noted={view === "stuck"} failed={view === "failed"} /> : (
							<Nothing view={view} filtered={isFiltered} />
						)}
						<div class="pager">
							{query.get("after") || query.get("before") ? <Link to={clean(query)} class="button">Newest</Link> : null}
							{data.previous && <Link to={page("before", data.previous)} class="button">Newer</Link>}
							{data.next && <Link to={page("after", data.next)} class="button">Older</Link>}
						</div>
					</>
				)}
			</Loaded>
		</>
	)
}

const isoOf = (event: Event) => {
	const { value } = event.target as HTMLInputElement
	return value ? new Date(value).toISOString() : null
}

function clean(query: URLSearchParams): string {
	const next = new URLSearchParams(query)
	for (const name of ["after", "before"]) next.delete(name)
	return `/workflows${next.size ? `?${next}` : ""}`
}

function bulkNames(view: string, status: string | null): string[] {
	if (view === "failed" || status === "FAILED") return ["resume_failed"]
	if (status === "PAUSED") return ["resume", "cancel"]
	if (status === "COMPLETED" || status === "CANCELLED") return []
	if (status === "RUNNING" || status === "PENDING" || view) return ["pause", "cancel"]
	return ["resume_failed", "pause", "resume", "cancel"]
}

function Nothing({ view, filtered }: { view: string; filtered: boolean }) {
	const texts: Record<string, [string, string]> = {
		failed: ["No workflow has failed.", "What fails is shown here until it is resumed or purged."],
		stuck: ["Nothing is stuck.", "Each running workflow has an executor that is alive, and time left."],
		suspended: ["Nothing is suspended.", "A workflow that waits for long gives its worker free, and is shown here meanwhile."],
	}
	const [title, more] = texts[view] ?? (filtered ? ["No workflow matches.", "Names, queues and handlers are compared as a whole."] : ["There is no workflow yet.", "SELECT * FROM durable.start('my first workflow', queue => 'my queue'); begins one."])
	return <Empty title={title}><p>{more}</p></Empty>
}

export function List({ rows, noted, failed }: { rows: Workflow[]; noted: boolean; failed: boolean }) {
	return (
		<div class="table-box">
			<table class="cards workflows">
				<thead>
					<tr><th scope="col">Status</th><th scope="col">Name</th><th scope="col">Handler</th><th scope="col">Queue</th><th scope="col">Executor</th><th scope="col">{failed ? "Failed" : "Created"}</th><th scope="col" class="num">Took</th><th scope="col">{noted ? "Why" : "Error"}</th></tr>
				</thead>
				<tbody>
					{rows.map((row) => (
						<tr key={row.id} onClick={(event) => {
							if (!(event.target as HTMLElement).closest("a, button") && !getSelection()?.toString()) go(`/workflows/${row.id}`)
						}}>
							<td><Status status={row.status} /></td>
							<th scope="row" class="name">
								{row.parent_id && <span class="faint" title="a child of another workflow">↳ </span>}
								<RowLink to={`/workflows/${row.id}`} text={row.name} />
								{row.tags && Object.entries(row.tags).slice(0, 4).map(([key, value]) => <span key={key} class="tag"><bdi>{key}: {typeof value === "string" ? value : JSON.stringify(value)}</bdi></span>)}
							</th>
							<td data-label="handler"><bdi>{row.handler}</bdi></td>
							<td data-label="queue">{row.queue_name !== null && <bdi>{row.queue_name}</bdi>}</td>
							<td data-label="executor"><bdi>{row.executor_id}</bdi></td>
							<td data-label={failed ? "failed" : "created"}><Time at={failed ? row.completed_at : row.created_at} /></td>
							<td class="num" data-label="took"><Elapsed from={row.started_at} to={row.completed_at} /></td>
							<td class="error-line" title={noted ? row.note : row.error ?? undefined}><bdi>{noted ? row.note : row.error && row.status !== "COMPLETED" ? firstLine(row.error) : ""}</bdi></td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	)
}

function RowLink({ to, text }: { to: string; text: string }) {
	return <span data-row><Link to={to} data-row-link=""><bdi>{text}</bdi></Link></span>
}

const waitsFor: Record<string, string> = { sleep: "a time", signal: "a signal", workflow: "a workflow", callback: "an answer", any: "the first of several" }

export function Waits({ waits }: { waits: Wait[] }) {
	if (!waits.length) return <Empty title="Nothing waits."><p>A workflow that waits for a time, a signal, another workflow or an answer is shown here.</p></Empty>
	return (
		<div class="table-box">
			<table class="cards">
				<thead><tr><th scope="col">Wait</th><th scope="col">For</th><th scope="col">Workflow</th><th scope="col">Queue</th><th scope="col">Since</th><th scope="col">Ends by itself</th></tr></thead>
				<tbody>
					{waits.map((wait) => (
						<tr key={wait.step_id}>
							<th scope="row"><Shape of="WAIT" /> <RowLink to={`/workflows/${wait.workflow_id}?step=${wait.sequence}`} text={wait.name} /></th>
							<td data-label="for">{waitsFor[wait.wait]}{wait.signals ? <>: <bdi>{wait.signals.join(", ")}</bdi></> : null}{wait.awaited ? <>: <Link to={`/workflows/${wait.awaited}`}>{wait.awaited}</Link></> : null}</td>
							<td data-label="workflow"><Link to={`/workflows/${wait.workflow_id}`}><bdi>{wait.root_name ?? wait.workflow_id}</bdi></Link></td>
							<td data-label="queue"><bdi>{wait.queue_name}</bdi></td>
							<td data-label="since"><Time at={wait.since} /></td>
							<td data-label="ends"><Time at={wait.run_at} none="never" /></td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	)
}
