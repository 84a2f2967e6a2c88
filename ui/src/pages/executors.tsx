import type { Executor } from "../../shared/types.ts"
import { ActionButton } from "../actions.tsx"
import { number, plural, useLive } from "../lib.ts"
import { Empty, Foreign, Link, Loaded, Shape, Time } from "../ui.tsx"

export function ReleaseExecutor({ id, running, describedBy }: { id: string; running: number; describedBy?: string }) {
	return (
		<ActionButton label="Release" action="release_executor" describedBy={describedBy} form={() => ({
			title: `Release all of ${id}`, label: "Release", fixed: { executor_id: id },
			about: <p>Hands back {running >= 1000 ? "all that it drives" : plural(running, "workflow")} under new leases, and forgets the executor. If it is alive after all, it can record nothing more of those.</p>,
			done: (result) => `Released: ${plural(Number(Object.values(result ?? {})[0] ?? 0), "workflow")}`,
		})} />
	)
}

export function ExecutorsPage() {
	const live = useLive<{ now: string; executors: Executor[] }>("/executors")
	return (
		<>
			<h1>Executors</h1>
			<Loaded live={live}>
				{({ executors }) => {
					if (!executors.length) return <Empty title="No executor is registered."><p>A worker registers itself when it claims work or sends its first heartbeat.</p></Empty>
					return (
						<div class="table-box">
							<table class="cards">
								<thead><tr><th scope="col">State</th><th scope="col">Executor</th><th scope="col">Last seen</th><th scope="col" class="num">Drives</th><th scope="col">Session</th><th scope="col">Version</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
								<tbody>
									{executors.map((one, i) => (
										<tr key={one.executor_id}>
											<td><span class={`status ${one.alive ? "s-COMPLETED" : "s-FAILED"}`}><Shape of={one.alive ? "COMPLETED" : "FAILED"} />{one.alive ? "alive" : "stale"}</span></td>
											<th scope="row" id={`executor-${i}`}><Foreign>{one.executor_id}</Foreign></th>
											<td data-label="last seen"><Time at={one.last_seen} />{one.why ? <span class="bad-text"> {one.why}</span> : null}</td>
											<td class="num" data-label="drives">{one.running === 0 ? 0 : <Link to={`/workflows?executor=${encodeURIComponent(one.executor_id)}`}>{one.running >= 1000 ? "1,000 or more" : number(one.running)}</Link>}</td>
											<td data-label="session">{one.bound ? "bound" : <span class="faint">not bound</span>}</td>
											<td data-label="version">{one.app_version ? <Foreign>{one.app_version}</Foreign> : <span class="faint">–</span>}</td>
											<td><div class="buttons"><ReleaseExecutor id={one.executor_id} running={one.running} describedBy={`executor-${i}`} /></div></td>
										</tr>
									))}
								</tbody>
							</table>
						</div>
					)
				}}
			</Loaded>
		</>
	)
}
