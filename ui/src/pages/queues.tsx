import type { Queue } from "../../shared/types.ts"
import { ActionButton, type FormField } from "../actions.tsx"
import { duration, number, plural, useLive } from "../lib.ts"
import { Empty, Foreign, Link, Loaded, Meter, Status, useCan } from "../ui.tsx"

export const queueLink = (name: string) => `/workflows?queue=${encodeURIComponent(name)}`

const limitFields = (queue?: Queue): FormField[] => [
	{ arg: "max_concurrency", label: "At once", kind: "int", initial: queue?.max_concurrency?.toString() ?? "", hint: "Empty: no limit." },
	{ arg: "key_concurrency", label: "At once of one key", kind: "int", initial: queue?.key_concurrency?.toString() ?? "", hint: "Empty: no limit." },
	{ arg: "rate_limit", label: "Starts in a window", kind: "int", initial: queue?.rate_limit?.toString() ?? "", hint: "Empty: no limit." },
	{ arg: "rate_limit_window", label: "Length of the window", kind: "interval", initial: queue?.rate_limit_window_text ?? "1 second" },
	{ arg: "fair", label: "Keys take turns", kind: "check", initial: String(queue?.fair ?? false) },
]

export function QueuesPage() {
	const live = useLive<{ queues: Queue[]; now?: string }>("/queues")
	const can = useCan()
	return (
		<>
			<div class="head">
				<h1>Queues</h1>
				<ActionButton label="New queue" action="create_queue" form={() => ({
					title: "New queue", label: "Create queue",
					fields: [{ arg: "name", label: "Name", kind: "text", required: true, full: true }, ...limitFields()],
					done: "Queue created",
				})} />
			</div>
			<Loaded live={live}>
				{({ queues }) => {
					const named = queues.filter((queue) => queue.name !== null)
					if (!named.length) return <Empty title="There is no queue."><p>A queue is a line of workflows that workers claim from, with limits.</p></Empty>
					return (
						<div class="table-box">
							<table class="cards">
								<thead><tr><th scope="col">Queue</th><th scope="col">State</th><th scope="col" class="num">Due</th><th scope="col" class="num">Pending</th><th scope="col" class="num">Suspended</th><th scope="col" class="num">Running</th><th scope="col" class="num">Paused</th><th scope="col" class="num">Stale</th><th scope="col" class="num">Retries</th><th scope="col" class="num">Oldest due</th><th scope="col">Limits</th><th scope="col">{can("pause_queue") ? "Actions" : ""}</th></tr></thead>
								<tbody>{named.map((queue, i) => <Row key={queue.name} queue={queue} id={`queue-${i}`} />)}</tbody>
							</table>
						</div>
					)
				}}
			</Loaded>
		</>
	)
}

function Row({ queue, id }: { queue: Queue; id: string }) {
	const name = queue.name!
	const limits = [
		queue.max_concurrency !== null && `${number(queue.max_concurrency)} at once`,
		queue.key_concurrency && `${number(queue.key_concurrency)} of a key`,
		queue.rate_limit !== null && `${number(queue.rate_limit)} starts in ${duration((queue.rate_limit_window ?? 1) * 1_000)}`,
		queue.fair && "fair",
	].filter(Boolean)
	const n = (value: number, bad = false) => <span class={value && bad ? "bad-text" : ""}>{number(value)}</span>
	return (
		<tr>
			<th scope="row" id={id}><Link to={queueLink(name)} data-row-link=""><Foreign>{name}</Foreign></Link></th>
			<td>{queue.queue_paused ? <Status status="PAUSED" /> : <span class="faint">open</span>}</td>
			<td class="num" data-label="due">{n(queue.due)}</td>
			<td class="num" data-label="pending">{n(queue.pending)}</td>
			<td class="num" data-label="suspended">{n(queue.suspended)}</td>
			<td class="num" data-label="running"><Meter value={queue.running} max={queue.max_concurrency} label="running" /></td>
			<td class="num" data-label="paused">{n(queue.paused)}</td>
			<td class="num" data-label="stale">{n(queue.stale, true)}</td>
			<td class="num" data-label="retries">{n(queue.retries_waiting)}</td>
			<td class="num" data-label="oldest due">{queue.oldest_due === null ? <span class="faint">–</span> : duration(queue.oldest_due * 1_000)}</td>
			<td data-label="limits">{limits.length ? limits.join(", ") : <span class="faint">none</span>}</td>
			<td>
				<div class="buttons">
					{queue.queue_paused
						? <ActionButton label="Resume" action="resume_queue" args={{ name }} done={`Queue ${name} resumed`} describedBy={id} />
						: <ActionButton label="Pause" action="pause_queue" args={{ name }} done={`Queue ${name} paused: nothing is claimed from it`} describedBy={id} />}
					<ActionButton label="Edit limits" action="alter_queue" describedBy={id} form={() => ({
						title: `Limits of ${name}`, label: "Set limits", fixed: { name },
						about: <p>All limits are set to what stands here.</p>,
						fields: limitFields(queue), done: "Limits set",
					})} />
					<ActionButton label="Drain" action="drain_queue" describedBy={id} form={() => ({
						title: `Drain ${name}?`, label: "Drain queue", dismiss: "Keep it", danger: true, fixed: { name },
						about: <p>Cancels what waits in the queue and has never run, up to a thousand of {plural(queue.pending, "workflow")} at a time.</p>,
						fields: [{ arg: "max_rows", label: "At most", kind: "int", initial: "1000" }],
						done: (result) => `Cancelled: ${plural(Number(Object.values(result ?? {})[0] ?? 0), "workflow")}`,
					})} />
					<ActionButton label="Drop" action="drop_queue" kind="danger" describedBy={id} form={() => ({
						title: `Drop ${name}?`, label: "Drop queue", dismiss: "Keep it", danger: true, fixed: { name },
						about: <p>It is refused while the queue has an unfinished workflow, or a schedule starts some in it.</p>, done: `Queue ${name} dropped`,
					})} />
				</div>
			</td>
		</tr>
	)
}
