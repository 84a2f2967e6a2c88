// What is wrong, where, since when, and the button that mends it; then how it all goes.

import type { ComponentChildren } from "preact"
import { useState } from "preact/hooks"
import type { Check, Overview, Queue } from "../../shared/types.ts"
import { statuses } from "../../shared/types.ts"
import { ActionButton } from "../actions.tsx"
import { api, duration, firstLine, number, plural, problemOf, serverNow, useLive } from "../lib.ts"
import { ResumeFailed } from "../workflow-actions.tsx"
import { Empty, Foreign, Link, Loaded, Meter, Shape, Since, Sparkline, Status, tellProblem, Time, useSession } from "../ui.tsx"
import { ReleaseExecutor } from "./executors.tsx"
import { queueLink } from "./queues.tsx"

interface Wrong { key: string; bad: boolean; what: ComponentChildren; since?: string | null; mend?: ComponentChildren }

/** A queue in which nothing moves has waited for so long. */
const patience = 60

function problems(data: Overview): Wrong[] {
	const now = serverNow()
	const ago = (seconds: number) => new Date(now - seconds * 1_000).toISOString()
	const found: Wrong[] = []

	for (const executor of data.executors)
		if (!executor.alive && executor.running)
			found.push({
				key: `e ${executor.executor_id}`, bad: true, since: executor.last_seen,
				what: <>Executor <Foreign>{executor.executor_id}</Foreign> {executor.why === "session ended" ? "has ended" : "is silent"}: {executor.running >= 1000 ? "1,000 workflows or more" : plural(executor.running, "workflow")} {executor.running === 1 ? "stands" : "stand"} still</>,
				mend: <><Link to={`/workflows?executor=${encodeURIComponent(executor.executor_id)}`} class="button">Show</Link><ReleaseExecutor id={executor.executor_id} running={executor.running} /></>,
			})
	for (const queue of data.queues) {
		const name = queue.name === null ? <>Outside of queues</> : <>Queue <Link to={queueLink(queue.name)}><Foreign>{queue.name}</Foreign></Link></>
		if (queue.queue_paused && queue.pending)
			found.push({
				key: `p ${queue.name}`, bad: false, since: queue.oldest_due === null ? undefined : ago(queue.oldest_due),
				what: <>{name} is paused, and {plural(queue.pending, "workflow")} {queue.pending === 1 ? "waits" : "wait"}</>,
				mend: <ActionButton label="Resume" action="resume_queue" args={{ name: queue.name }} done={`Queue ${queue.name} resumed`} />,
			})
		else if (queue.name !== null && (queue.oldest_due ?? 0) > patience)
			found.push({
				key: `w ${queue.name}`, bad: queue.running === 0, since: ago(queue.oldest_due!),
				what: <>{name}: {plural(queue.due, "workflow")} due, {queue.max_concurrency !== null && queue.running >= queue.max_concurrency ? "its limit is reached"
					: queue.running === 0 ? "and nobody claims" : `only ${number(queue.running)} running`}</>,
				mend: <Link to={`/workflows?queue=${encodeURIComponent(queue.name)}&status=PENDING`} class="button">Show</Link>,
			})
		if (queue.waiting_for_version)
			found.push({ key: `v ${queue.name}`, bad: true, what: <>{name}: {plural(queue.waiting_for_version, "workflow")} of a version with which no executor claims</>, mend: <Link to="/executors" class="button">Executors</Link> })
	}
	for (const schedule of data.schedules) {
		if (schedule.error)
			found.push({ key: `se ${schedule.name}`, bad: true, what: <>Schedule <Foreign>{schedule.name}</Foreign> cannot start: <Foreign>{firstLine(schedule.error)}</Foreign></>, mend: <Link to="/schedules" class="button">Schedules</Link> })
		if (!schedule.paused && schedule.next_run_at && now - Date.parse(schedule.next_run_at) > patience * 1_000)
			found.push({ key: `sl ${schedule.name}`, bad: true, since: schedule.next_run_at, what: <>Schedule <Foreign>{schedule.name}</Foreign> is overdue: no worker calls tick</>, mend: <Link to="/executors" class="button">Executors</Link> })
	}
	// what a registered executor has left is told above
	const told = new Set(data.executors.filter((one) => !one.alive).map((one) => one.executor_id))
	const stuck = data.stuck.filter((one) => !one.note!.startsWith("stale") || !told.has(one.executor_id ?? ""))
	for (const one of stuck.slice(0, 5))
		found.push({
			key: `stuck ${one.id}`, bad: /^stale|past/.test(one.note!), since: one.started_at,
			what: <><Link to={`/workflows/${one.id}`}><Foreign>{one.name}</Foreign></Link>: <Foreign>{one.note!}</Foreign></>,
			mend: <Link to={`/workflows/${one.id}`} class="button">Open</Link>,
		})
	if (stuck.length > 5) found.push({ key: "more", bad: false, what: <>{plural(stuck.length - 5, "other")} in trouble</>, mend: <Link to="/workflows?view=stuck" class="button">Show</Link> })
	const failed = data.failures.filter((one) => one.completed_at && now - Date.parse(one.completed_at) < 15 * 60_000)
	if (failed.length)
		found.push({
			key: "failed", bad: true, since: failed.at(-1)!.completed_at,
			what: <>{failed.length >= 10 ? "10 or more" : failed.length} {failed.length === 1 ? "workflow" : "workflows"} failed in the last 15 minutes</>,
			mend: <Link to="/workflows?view=failed" class="button">Show</Link>,
		})
	if (data.check?.problems.length)
		found.push({ key: "check", bad: true, since: data.check.at, what: <>check() finds {plural(data.check.problems.length, "broken rule")}</>, mend: <a href="#check" class="button" onClick={(event) => { event.preventDefault(); document.getElementById("check")!.scrollIntoView() }}>Show</a> })
	return found.sort((a, b) => Number(b.bad) - Number(a.bad))
}

function QueueRow({ queue, data }: { queue: Queue; data: Overview }) {
	return (
		<tr>
			<th scope="row">{queue.name === null ? <span class="faint">no queue</span> : <Link to={queueLink(queue.name)}><Foreign>{queue.name}</Foreign></Link>}</th>
			<td class="num" data-label="due">{number(queue.due)}</td>
			<td class="num" data-label="running"><Meter value={queue.running} max={queue.max_concurrency} label="running" /></td>
			<td class="num" data-label="oldest due">{queue.oldest_due === null ? <span class="faint">–</span> : <span class={queue.oldest_due > patience ? "warn-text" : ""}>{duration(queue.oldest_due * 1_000)}</span>}</td>
			<td class="num" data-label="suspended">{number(queue.suspended)}</td>
			<td class="num" data-label="failed">{queue.failed_last_minute ? <span class="bad-text">{number(queue.failed_last_minute)}</span> : 0}</td>
			<td class="spark"><Sparkline rates={data.rates[`q ${queue.name ?? ""}`]} label={queue.name ?? "no queue"} /></td>
			<td>{queue.queue_paused ? <Status status="PAUSED" /> : null}</td>
		</tr>
	)
}

function CheckBox({ check }: { check: Check }) {
	const [asked, set] = useState(false)
	const { fields } = useSession()
	const isRunning = check.state === "running"
	return (
		<section id="check" aria-labelledby="check-title">
			<div class="head">
				<h2 id="check-title">Check</h2>
				{fields.check && <button type="button" disabled={isRunning || asked} title="SELECT * FROM durable.check();" onClick={async () => {
					set(true)
					await api("/check", {}).catch((error) => tellProblem(problemOf(error)))
					set(false)
				}}>Run check</button>}
			</div>
			{isRunning && <p aria-busy="true">Running… It reads all tables and blocks nobody.</p>}
			{!isRunning && check.state === "unknown" && <p class="faint">Not run yet. It reads all tables and blocks nobody.</p>}
			{!isRunning && check.state === "error" && <p><Shape of="PAUSED" /> {check.message}. <span class="faint">Run it when there is time.</span></p>}
			{!isRunning && check.state === "done" && check.problems.length === 0 && <p><Shape of="COMPLETED" /> No rule is broken. <span class="faint"><Time at={check.at} />, took {duration(check.seconds! * 1_000)}</span></p>}
			{check.problems.length > 0 && (
				<ul class="plain">
					{check.problems.map((one, i) => (
						<li key={i}><Shape of="FAILED" /> {one.task_id ? <Link to={`/workflows/${one.task_id.slice(0, -6)}000000`}>{one.task_id}</Link> : null} <Foreign>{one.problem}</Foreign></li>
					))}
				</ul>
			)}
		</section>
	)
}

export function OverviewPage() {
	const live = useLive<Overview>("/overview")
	return (
		<>
			<h1>Overview</h1>
			<Loaded live={live}>
				{(data) => {
					const wrong = problems(data)
					const total = data.rates[""]?.at(-1)
					return (
						<>
							<section aria-labelledby="wrong-title" class="wrong">
								<h2 id="wrong-title" class={wrong.length ? "" : "all-well"}>{wrong.length ? "What is wrong" : <><Shape of="COMPLETED" />Nothing is wrong</>}</h2>
								{wrong.length > 0 && (
									<ul>
										{wrong.map((one) => (
											<li key={one.key} class={one.bad ? "is-bad" : ""}>
												<Shape of={one.bad ? "FAILED" : one.key.startsWith("p ") ? "PAUSED" : "WAIT"} />
												<span class="what">{one.what}</span>
												<span class="since">{one.since && <Since at={one.since} />}</span>
												<span class="mend">{one.mend}</span>
											</li>
										))}
									</ul>
								)}
							</section>

							<ul class="counts" aria-label="Workflows by status">
								{statuses.map((status) => (
									<li key={status}><Link to={`/workflows?status=${status}`}><Status status={status} /><strong>{number(data.counts[status] ?? 0)}</strong></Link></li>
								))}
								<li class="rate"><span class="faint">ended, last minute</span><strong>{number((total?.completed ?? 0) + (total?.failed ?? 0))}</strong><Sparkline rates={data.rates[""]} label="All workflows" width={180} height={28} /></li>
							</ul>

							<section aria-labelledby="queues-title">
								<div class="head"><h2 id="queues-title">Queues</h2><Link to="/queues">All about queues</Link></div>
								<div class="table-box">
									<table class="cards">
										<thead><tr><th scope="col">Queue</th><th scope="col" class="num">Due</th><th scope="col" class="num">Running</th><th scope="col" class="num">Oldest due</th><th scope="col" class="num">Suspended</th><th scope="col" class="num" title="in the last minute">Failed</th><th scope="col">Ended, 15 min</th><th scope="col"><span class="hidden">State</span></th></tr></thead>
										<tbody>{data.queues.map((queue) => <QueueRow key={queue.name} queue={queue} data={data} />)}</tbody>
									</table>
								</div>
							</section>

							<div class="columns">
								<section aria-labelledby="failures-title">
									<div class="head"><h2 id="failures-title">Failures lately</h2><Link to="/workflows?view=failed">All</Link></div>
									{data.failures.length === 0 ? <Empty title="No workflow has failed." /> : (
										<ul class="failures">
											{data.failures.map((one) => (
												<li key={one.id}>
													<Shape of="FAILED" />
													<span class="what"><Link to={`/workflows/${one.id}`}><Foreign>{one.name}</Foreign></Link><span class="faint"> <Time at={one.completed_at} /></span>
														<span class="error-line"><Foreign>{firstLine(one.error ?? "no error was given")}</Foreign></span></span>
													<span class="mend"><ResumeFailed workflow={one} /></span>
												</li>
											))}
										</ul>
									)}
								</section>
								<div>
									<section aria-labelledby="executors-title">
										<div class="head"><h2 id="executors-title">Executors</h2><Link to="/executors">All</Link></div>
										<ExecutorSummary data={data} />
									</section>
									<section aria-labelledby="schedules-title">
										<div class="head"><h2 id="schedules-title">Next by schedule</h2><Link to="/schedules">All</Link></div>
										{data.schedules.length === 0 ? <p class="faint">There is no schedule.</p> : (
											<ul class="plain">
												{[...data.schedules].filter((one) => one.next_run_at).sort((a, b) => Date.parse(a.next_run_at!) - Date.parse(b.next_run_at!)).slice(0, 6).map((one) => (
													<li key={one.name} class="line"><Foreign>{one.name}</Foreign>{one.paused ? <Status status="PAUSED" /> : <Time at={one.next_run_at} />}</li>
												))}
											</ul>
										)}
									</section>
									{data.check && <CheckBox check={data.check} />}
								</div>
							</div>
						</>
					)
				}}
			</Loaded>
		</>
	)
}

function ExecutorSummary({ data }: { data: Overview }) {
	const { executors } = data
	if (!executors.length) return <p class="faint">No executor is registered: nobody works.</p>
	const bound = executors.filter((one) => one.bound && one.alive).length
	const versions = new Map<string, number>()
	for (const one of executors) if (one.alive && one.app_version) versions.set(one.app_version, (versions.get(one.app_version) ?? 0) + 1)
	const dead = executors.filter((one) => !one.alive).length
	return (
		<ul class="plain">
			<li class="line"><span><Shape of="COMPLETED" /> alive</span><span>{number(executors.length - dead)}{executors.length >= 500 ? " or more" : ""}{bound ? <span class="faint">, {number(bound)} bound to a session</span> : null}</span></li>
			<li class="line"><span><Shape of={dead ? "FAILED" : "PENDING"} /> stale</span><span class={dead ? "bad-text" : ""}>{number(dead)}</span></li>
			{[...versions].map(([version, n]) => <li key={version} class="line"><span class="faint">version <Foreign>{version}</Foreign></span><span>{number(n)}</span></li>)}
		</ul>
	)
}
