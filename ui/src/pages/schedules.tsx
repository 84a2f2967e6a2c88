import { useEffect, useState } from "preact/hooks"
import type { Schedule } from "../../shared/types.ts"
import type { ActionArgs } from "../../shared/actions.ts"
import { ActionButton, type FormField } from "../actions.tsx"
import { api, exact, number, plural, problemOf, useLive } from "../lib.ts"
import { Empty, Foreign, Link, Loaded, Status, Time, useSession } from "../ui.tsx"
import { queueLink } from "./queues.tsx"

interface Data { now: string; schedules: Schedule[]; queues: string[] }

const local = (time: string | null) => {
	if (!time) return ""
	const date = new Date(time)
	return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}

function settings(queues: string[], one?: Schedule): FormField[] {
	const choice = (values: string[]) => values.map((value) => ({ value, label: value }))
	return [
		{ arg: "cron", label: "When (cron)", kind: "text", initial: one?.cron ?? "", required: true, hint: "30 2 * * mon-fri, @hourly, or @every 5 minutes" },
		{ arg: "timezone", label: "Time zone", kind: "text", initial: one?.timezone ?? "UTC", suggestions: ["UTC", Intl.DateTimeFormat().resolvedOptions().timeZone] },
		{ arg: "queue", label: "Queue", kind: "text", initial: one?.queue ?? "", required: true, suggestions: queues },
		{ arg: "handler", label: "Handler", kind: "text", initial: one?.handler ?? "" },
		{ arg: "workflow", label: "Name of the workflows", kind: "text", initial: one?.workflow ?? "", hint: "Empty: the schedule's." },
		{ arg: "overlap", label: "While a run is unfinished", kind: "choice", initial: one?.overlap ?? "skip", choices: choice(["skip", "queue", "all", "cancel"]) },
		{ arg: "catch_up", label: "Times that were missed", kind: "choice", initial: one?.catch_up ?? "last", choices: choice(["none", "last", "all"]) },
		{ arg: "priority", label: "Priority", kind: "int", initial: String(one?.priority ?? 0) },
		{ arg: "timeout", label: "Timeout", kind: "interval", initial: one?.timeout ?? "", hint: "Empty: none." },
		{ arg: "jitter", label: "Jitter", kind: "interval", initial: one?.jitter ?? "", hint: "Begins up to so much later." },
		{ arg: "starts_at", label: "From", kind: "time", initial: local(one?.starts_at ?? null) },
		{ arg: "ends_at", label: "To", kind: "time", initial: local(one?.ends_at ?? null) },
		{ arg: "max_recovery_attempts", label: "Recoveries at most", kind: "int", initial: String(one?.max_recovery_attempts ?? 100) },
		{ arg: "app_version", label: "Version", kind: "text", initial: one?.app_version ?? "" },
		{ arg: "input", label: "Input (JSON)", kind: "json", initial: one?.input === null || one?.input === undefined ? "" : JSON.stringify(one.input, null, 2) },
	]
}

/** When a line of cron would come. */
function Preview({ cron, timezone }: { cron: string; timezone: string }) {
	const [text, set] = useState<string[] | string>("")
	useEffect(() => {
		if (!cron) return set("")
		const timer = setTimeout(() => {
			api<{ next: string[] }>(`/next-runs?${new URLSearchParams({ cron, timezone })}`).then(
				({ next }) => set(next), (error) => set([problemOf(error).message, problemOf(error).detail].filter(Boolean).join(" ")))
		}, 300)
		return () => clearTimeout(timer)
	}, [cron, timezone])
	return (
		<div class="preview" aria-live="polite">
			{typeof text === "string" ? <span class={text ? "bad-text" : "faint"}>{text || "The next times are shown here."}</span>
				: <><span class="faint">Next, in your time: </span>{text.map((time) => <span key={time} class="tag" title={exact(time)}>{local(time).replace("T", " ").slice(0, 16)}</span>)}</>}
		</div>
	)
}
const preview = (args: ActionArgs) => <Preview cron={String(args.cron ?? "")} timezone={String(args.timezone ?? "UTC")} />

export function SchedulesPage() {
	const live = useLive<Data>("/schedules")
	const queues = live.data?.queues ?? []
	return (
		<>
			<div class="head">
				<h1>Schedules</h1>
				<ActionButton label="New schedule" action="create_schedule" form={() => ({
					title: "New schedule", label: "Create schedule",
					fields: [{ arg: "name", label: "Name", kind: "text", required: true, full: true }, ...settings(queues)], preview, done: "Schedule created",
				})} />
			</div>
			<Loaded live={live}>
				{({ schedules }) => {
					if (!schedules.length) return <Empty title="There is no schedule."><p>A schedule starts workflows in a queue, at the times of a line of cron.</p></Empty>
					return (
						<div class="table-box">
							<table class="cards">
								<thead><tr><th scope="col">Schedule</th><th scope="col">State</th><th scope="col">When</th><th scope="col">Queue</th><th scope="col">Next</th><th scope="col">Last run</th><th scope="col" class="num">Skipped</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
								<tbody>{schedules.map((one, i) => <Row key={one.name} one={one} queues={queues} id={`schedule-${i}`} />)}</tbody>
							</table>
						</div>
					)
				}}
			</Loaded>
		</>
	)
}

function Row({ one, queues, id }: { one: Schedule; queues: string[]; id: string }) {
	const { name } = one
	const { hidePayloads } = useSession()
	return (
		<>
			<tr>
				<th scope="row" id={id}><Foreign>{name}</Foreign>{one.handler && <span class="faint"> <Foreign>{one.handler}</Foreign></span>}</th>
				<td>{one.paused ? <Status status="PAUSED" /> : one.next_run_at ? <span class="faint">open</span> : <span class="faint">over</span>}</td>
				<td data-label="when"><bdi>{one.cron}</bdi> <span class="faint"><bdi>{one.timezone}</bdi></span></td>
				<td data-label="queue"><Link to={queueLink(one.queue)}><Foreign>{one.queue}</Foreign></Link></td>
				<td data-label="next"><span title={one.next.map(exact).join("\n")}><Time at={one.next_run_at} none="never" /></span></td>
				<td data-label="last run">{one.last_workflow_id ? <Link to={`/workflows/${one.last_workflow_id}`}><Time at={one.last_run_at} /></Link> : <Time at={one.last_run_at} none="never" />}{one.waiting_for && <span class="faint">, one waits</span>}</td>
				<td class="num" data-label="skipped">{number(one.skipped)}</td>
				<td>
					<div class="buttons">
						{one.paused
							? <ActionButton label="Resume" action="resume_schedule" args={{ name }} done={`Schedule ${name} resumed`} describedBy={id} />
							: <ActionButton label="Pause" action="pause_schedule" args={{ name }} done={`Schedule ${name} paused`} describedBy={id} />}
						<ActionButton label="Trigger" action="trigger_schedule" args={{ name }} describedBy={id}
							done={(result) => (Object.values(result ?? {})[0] ? "Started a run" : "Not started: a run is unfinished")} />
						<ActionButton label="Backfill" action="backfill_schedule" describedBy={id} form={() => ({
							title: `Backfill ${name}`, label: "Backfill", fixed: { name },
							about: <p>Starts a run for each past time of its plan between these that has none, at most 1,000.</p>,
							fields: [{ arg: "from_time", label: "From", kind: "time", required: true }, { arg: "to_time", label: "To", kind: "time", required: true }],
							done: (result) => `Started: ${plural(Number(Object.values(result ?? {})[0] ?? 0), "run")}`,
						})} />
						{!hidePayloads && <ActionButton label="Edit" action="alter_schedule" describedBy={id} form={() => ({
							title: `Settings of ${name}`, label: "Save", fixed: { name },
							about: <p>All settings are set to what stands here.</p>,
							fields: settings(queues, one), preview, done: `Schedule ${name} set`,
						})} />}
						<ActionButton label="Drop" action="drop_schedule" kind="danger" describedBy={id} form={() => ({
							title: `Drop ${name}?`, label: "Drop schedule", dismiss: "Keep it", danger: true, fixed: { name },
							about: <p>It starts nothing more. Its runs go on.</p>, done: `Schedule ${name} dropped`,
						})} />
					</div>
				</td>
			</tr>
			{one.error && <tr class="error-row"><td colSpan={8}><span class="bad-text"><bdi>{one.error}</bdi></span></td></tr>}
		</>
	)
}
