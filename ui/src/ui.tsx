// The small parts that all pages are made of.

import { createContext, type ComponentChildren } from "preact"
import { useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks"
import type { Problem, Rate, Session, Status as StatusName } from "../shared/types.ts"
import { duration, emptySession, exact, go, href, number, relative, useTick } from "./lib.ts"

export const SessionContext = createContext<Session>(emptySession)
export const useSession = () => useContext(SessionContext)
export const useCan = () => {
	const { actions } = useSession()
	return (name: string) => actions.includes(name)
}

// ---- text -----------------------------------------------------------------------------------

interface LinkProps {
	to: string
	children: ComponentChildren
	/** in place of what was before, in the browser's history too */
	replace?: boolean
	class?: string
	title?: string
	"aria-current"?: "page" | "true"
	"aria-label"?: string
	"data-row-link"?: string
}

/** A link within the dashboard. */
export function Link({ to, children, replace = false, ...rest }: LinkProps) {
	return (
		<a
			href={href(to)}
			onClick={(event: MouseEvent) => {
				if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return
				event.preventDefault()
				go(to, replace)
			}}
			{...rest}
		>
			{children}
		</a>
	)
}

/** Text of somebody else's: whatever direction it has, it does not turn what stands beside it. */
export const Foreign = ({ children, class: name }: { children: string; class?: string }) => <bdi class={name}>{children}</bdi>

const shapes: Record<string, ComponentChildren> = {
	PENDING: <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.6" />,
	RUNNING: <path d="M2.5 1.5v9l8-4.5z" fill="currentColor" />,
	COMPLETED: <path d="M1.5 6.5l3 3 6-7" fill="none" stroke="currentColor" stroke-width="2" />,
	FAILED: <path d="M6 .5L11.5 6 6 11.5.5 6z" fill="currentColor" />,
	PAUSED: <path d="M2 1.5h3v9H2zM7 1.5h3v9H7z" fill="currentColor" />,
	CANCELLED: <path d="M2 2l8 8M10 2l-8 8" fill="none" stroke="currentColor" stroke-width="1.8" />,
	WAIT: <path d="M2 1h8L6.8 6 10 11H2l3.2-5z" fill="none" stroke="currentColor" stroke-width="1.3" />,
}

export const Shape = ({ of }: { of: string }) => (
	<svg class={`shape s-${of}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{shapes[of]}</svg>
)

export const Status = ({ status }: { status: StatusName }) => (
	<span class={`status s-${status}`}>
		<Shape of={status} />
		<span class="status-name">{status}</span>
	</span>
)

/** How long something has been so. */
export function Since({ at }: { at: string }) {
	const now = useTick()
	return <time dateTime={at} title={`since ${exact(at)}`}>for {duration(now - Date.parse(at))}</time>
}

/** Relative, with the exact time on hover. */
export function Time({ at, none = "–" }: { at: string | null | undefined; none?: string }) {
	const now = useTick()
	if (!at) return <span class="faint">{none}</span>
	return <time dateTime={at} title={exact(at)}>{relative(at, now)}</time>
}

export function Elapsed({ from, to }: { from: string | null; to: string | null }) {
	const now = useTick()
	if (!from) return <span class="faint">–</span>
	return <span title={`from ${exact(from)}${to ? ` to ${exact(to)}` : ""}`}>{duration((to ? Date.parse(to) : now) - Date.parse(from))}</span>
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
	const [done, set] = useState(false)
	return (
		<button
			type="button" class="copy" aria-label={label} title={done ? "Copied" : label}
			onClick={async (event) => {
				event.stopPropagation()
				try {
					await navigator.clipboard.writeText(text)
				} catch {
					// without a secure context there is no clipboard
					const area = document.createElement("textarea")
					area.value = text
					document.body.append(area)
					area.select()
					document.execCommand("copy")
					area.remove()
				}
				set(true)
				setTimeout(() => set(false), 1_500)
			}}
		>
			<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
				{done ? <path d="M3 8.5l3.5 3.5L13 5" fill="none" stroke="currentColor" stroke-width="1.8" />
					: <path d="M5.5 5.5h7v8h-7zM3.5 10.5v-8h7" fill="none" stroke="currentColor" stroke-width="1.3" />}
			</svg>
		</button>
	)
}

export const Id = ({ id }: { id: string }) => (
	<span class="id"><span>{id}</span><Copy text={id} label="Copy id" /></span>
)

export const Sql = ({ sql, label = "Copy SQL" }: { sql: string; label?: string }) => (
	<div class="sql"><code>{sql}</code><Copy text={sql} label={label} /></div>
)

// ---- notices --------------------------------------------------------------------------------

export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
	<div class="empty"><p class="empty-title">{title}</p>{children && <div>{children}</div>}</div>
)

export function Trouble({ problem, since }: { problem: Problem; since?: number | null }) {
	const now = useTick()
	const isSql = problem.hint && /;$/.test(problem.hint)
	const title = problem.kind === "connection" ? "The database does not answer" : problem.kind === "setup" && problem.code !== "42501" ? "Not set up yet" : problem.message
	return (
		<div class="trouble" role="alert">
			<p class="trouble-title"><Shape of="FAILED" />{title}{since && now - since > 2_000 ? <span class="faint"> for {duration(now - since)}</span> : null}</p>
			{title !== problem.message && <p><bdi>{problem.message}</bdi></p>}
			{problem.detail && <p><bdi>{problem.detail}</bdi></p>}
			{problem.hint && (isSql ? <Sql sql={problem.hint} /> : <p class="faint">{problem.hint}</p>)}
		</div>
	)
}

/** What there is; or why there is nothing; or space for it. */
export function Loaded<T>({ live, children }: { live: { data: T | null; problem: Problem | null; since: number | null }; children: (data: T) => ComponentChildren }) {
	if (live.data)
		return (
			<>
				{live.problem && <Trouble problem={live.problem} since={live.since} />}
				<div class={live.problem ? "stale" : undefined}>{children(live.data)}</div>
			</>
		)
	if (live.problem) return <Trouble problem={live.problem} since={live.since} />
	return <div class="skeleton" aria-busy="true" aria-label="Loading">{Array.from({ length: 8 }, (_, i) => <div key={i} />)}</div>
}

interface Message { id: number; text: string; sql?: string; bad?: Problem }
let report: (message: Omit<Message, "id">) => void = () => {}
export const tell = (text: string, sql?: string) => report({ text, sql })
export const tellProblem = (problem: Problem, sql?: string) => report({ text: problem.message, sql, bad: problem })

export function Messages() {
	const [messages, set] = useState<Message[]>([])
	const next = useRef(0)
	report = (message) => {
		const id = next.current++
		set((old) => [...old.slice(-2), { ...message, id }])
		setTimeout(() => set((old) => old.filter((one) => one.id !== id)), message.bad ? 20_000 : 8_000)
	}
	return (
		<div class="messages" role="status" aria-live="polite">
			{messages.map((one) => (
				<div key={one.id} class={one.bad ? "message bad" : "message"}>
					<div class="message-head">
						<Shape of={one.bad ? "FAILED" : "COMPLETED"} /><strong><bdi>{one.text}</bdi></strong>
						<button type="button" class="quiet" aria-label="Dismiss" onClick={() => set((old) => old.filter((other) => other.id !== one.id))}>×</button>
					</div>
					{one.bad?.detail && <p><bdi>{one.bad.detail}</bdi></p>}
					{one.bad?.hint && <p class="faint"><bdi>{one.bad.hint}</bdi></p>}
					{one.sql && <Sql sql={one.sql} />}
				</div>
			))}
		</div>
	)
}

// ---- dialogs and fields ---------------------------------------------------------------------

let show: (dialog: ComponentChildren) => void = () => {}

/** A dialog belongs to the page, not to what opened it, which may be gone by the next news. */
export const openDialog = (dialog: (close: () => void) => ComponentChildren) => show(dialog(() => show(null)))

export function Dialogs() {
	const [dialog, set] = useState<ComponentChildren>(null)
	show = set
	return <>{dialog}</>
}

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
	const ref = useRef<HTMLDialogElement>(null)
	const id = useId()
	useLayoutEffect(() => {
		const dialog = ref.current!
		const before = document.activeElement as HTMLElement | null
		dialog.showModal()
		return () => {
			dialog.close()
			before?.focus?.()
		}
	}, [])
	return (
		<dialog
			ref={ref} aria-labelledby={id}
			onCancel={(event) => {
				event.preventDefault()
				onClose()
			}}
			onMouseDown={(event) => event.target === ref.current && onClose()}
		>
			<div class="dialog">
				<h2 id={id}><bdi>{title}</bdi></h2>
				{children}
			</div>
		</dialog>
	)
}

interface FieldProps { label: string; hint?: string; bad?: string | null; children: (id: string) => ComponentChildren }
export function Field({ label, hint, bad, children }: FieldProps) {
	const id = useId()
	return (
		<div class="field">
			<label for={id}>{label}</label>
			{children(id)}
			{bad ? <p class="bad-text" role="alert">{bad}</p> : hint ? <p class="faint">{hint}</p> : null}
		</div>
	)
}

// ---- JSON -----------------------------------------------------------------------------------

function Leaf({ value }: { value: unknown }) {
	const [all, set] = useState(false)
	if (typeof value === "string") {
		const isLong = value.length > 400
		return (
			<>
				<span class="j-string"><bdi>{JSON.stringify(isLong && !all ? value.slice(0, 400) : value).slice(0, isLong && !all ? -1 : undefined)}</bdi></span>
				{isLong && !all && <button type="button" class="quiet" onClick={() => set(true)}>… {number(value.length - 400)} more characters</button>}
			</>
		)
	}
	return <span class={value === null ? "j-null" : "j-number"}>{String(value)}</span>
}

const listed = 100

function Node({ name, value, depth }: { name?: string; value: unknown; depth: number }) {
	const isTree = typeof value === "object" && value !== null
	const entries = isTree ? Object.entries(value as object) : []
	const [open, setOpen] = useState(depth < 2 && entries.length <= listed)
	const [most, setMost] = useState(listed)
	const key = name !== undefined && <span class="j-key"><bdi>{name}</bdi>: </span>
	if (!isTree) return <div class="j-row">{key}<Leaf value={value} /></div>
	const [left, right] = Array.isArray(value) ? ["[", "]"] : ["{", "}"]
	if (!entries.length) return <div class="j-row">{key}{left + right}</div>
	return (
		<div class="j-row">
			<button type="button" class="j-fold" aria-expanded={open} aria-label={`${open ? "Fold" : "Unfold"} ${name ?? "all"}`} onClick={() => setOpen(!open)}>{open ? "▾" : "▸"}</button>
			{key}{left}{!open && <span class="faint"> {plural2(entries.length, Array.isArray(value))} {right}</span>}
			{open && (
				<>
					<div class="j-children">
						{entries.slice(0, most).map(([childName, child]) => <Node key={childName} name={Array.isArray(value) ? undefined : childName} value={child} depth={depth + 1} />)}
						{entries.length > most && <button type="button" class="quiet" onClick={() => setMost(most + 1000)}>{number(entries.length - most)} more</button>}
					</div>
					<span class="j-end">{right}</span>
				</>
			)}
		</div>
	)
}
const plural2 = (n: number, list: boolean) => `${number(n)} ${list ? (n === 1 ? "item" : "items") : n === 1 ? "key" : "keys"}`

/** A text of JSON, folded; as it is where it is none. */
export function Json({ text, label }: { text: string | null | undefined; label: string }) {
	const parsed = useMemo(() => {
		if (text === null || text === undefined) return null
		try {
			return { value: JSON.parse(text) as unknown }
		} catch {
			return null
		}
	}, [text])
	if (text === null || text === undefined) return <span class="faint">none</span>
	return (
		<div class="json" role="group" aria-label={label}>
			<Copy text={text} label={`Copy ${label.toLowerCase()}`} />
			{parsed ? <Node value={parsed.value} depth={0} /> : <pre><bdi>{text.slice(0, 20_000)}</bdi></pre>}
		</div>
	)
}

/** An error: its first line, and the rest folded. */
export function ErrorText({ text }: { text: string }) {
	const [open, set] = useState(false)
	const [first, ...rest] = text.split("\n")
	const isLong = rest.length > 0 || first.length > 300
	return (
		<div class="error-text">
			<Copy text={text} label="Copy error" />
			<bdi>{open ? text : first.slice(0, 300)}{!open && first.length > 300 ? "…" : ""}</bdi>
			{isLong && <button type="button" class="quiet" aria-expanded={open} onClick={() => set(!open)}>{open ? "Less" : rest.length ? `${number(rest.length)} more lines` : "More"}</button>}
		</div>
	)
}

// ---- long lists -----------------------------------------------------------------------------

/** Only the rows that are seen are there. Each has the same height, so the list can be of any length. */
export function Rows<T>({ rows, height, label, row, keyOf, scrollTo }: {
	rows: T[]; height: number; label: string; row: (item: T, index: number) => ComponentChildren; keyOf: (item: T) => string; scrollTo?: number
}) {
	const ref = useRef<HTMLDivElement>(null)
	const [range, set] = useState({ top: 0, seen: 600 })
	useLayoutEffect(() => {
		const box = ref.current!
		const measure = () => set({ top: box.scrollTop, seen: box.clientHeight })
		measure()
		box.addEventListener("scroll", measure, { passive: true })
		const observer = new ResizeObserver(measure)
		observer.observe(box)
		return () => {
			box.removeEventListener("scroll", measure)
			observer.disconnect()
		}
	}, [])
	useEffect(() => {
		if (scrollTo !== undefined && scrollTo >= 0) ref.current!.scrollTop = Math.max(0, scrollTo * height - 100)
	}, [scrollTo])
	const first = Math.max(0, Math.floor(range.top / height) - 8)
	const last = Math.min(rows.length, Math.ceil((range.top + range.seen) / height) + 8)
	return (
		<div class="rows" ref={ref} tabIndex={0} role="list" aria-label={label} style={{ maxHeight: `${rows.length * height + 2}px` }}>
			<div style={{ height: `${rows.length * height}px` }}>
				<div style={{ transform: `translateY(${first * height}px)` }}>
					{rows.slice(first, last).map((item, i) => (
						<div key={keyOf(item)} role="listitem" aria-setsize={rows.length} aria-posinset={first + i + 1} style={{ height: `${height}px` }}>{row(item, first + i)}</div>
					))}
				</div>
			</div>
		</div>
	)
}

// ---- sparklines -----------------------------------------------------------------------------

export function Sparkline({ rates, label, width = 120, height = 24 }: { rates: Rate[] | undefined; label: string; width?: number; height?: number }) {
	const points = rates ?? []
	const end = points.at(-1)?.t ?? 0
	const span = 15 * 60_000
	const most = Math.max(1, ...points.map((one) => one.completed + one.failed))
	const x = (t: number) => width - ((end - t) / span) * width
	const y = (n: number) => height - 1 - (n / most) * (height - 3)
	const line = (value: (one: Rate) => number) => points.map((one, i) => `${i ? "L" : "M"}${x(one.t).toFixed(1)} ${y(value(one)).toFixed(1)}`).join("")
	const last = points.at(-1)
	const failed = points.some((one) => one.failed > 0)
	return (
		<svg class="sparkline" viewBox={`0 0 ${width} ${height}`} width={width} height={height} role="img" preserveAspectRatio="none"
			aria-label={`${label}: ${last ? `${last.completed} completed and ${last.failed} failed in the last minute` : "no figures yet"}`}>
			<title>{`${label}, the last 15 minutes: at most ${number(most)} a minute`}</title>
			<path d={`M0 ${height - 0.5}H${width}`} class="spark-base" />
			{points.length > 1 && <path d={`${line((one) => one.completed)}L${width} ${height}L${x(points[0].t).toFixed(1)} ${height}Z`} class="spark-area" />}
			{points.length > 1 && <path d={line((one) => one.completed)} class="spark-line" />}
			{failed && <path d={line((one) => one.failed)} class="spark-failed" />}
		</svg>
	)
}

/** So much of so much. */
export function Meter({ value, max, label }: { value: number; max: number | null; label: string }) {
	if (max === null) return <span>{number(value)}</span>
	return (
		<span class="meter" title={`${label}: ${number(value)} of ${number(max)}`}>
			<span>{number(value)}<span class="faint">/{number(max)}</span></span>
			<span class="meter-bar" aria-hidden="true"><span class={value >= max ? "full" : ""} style={{ width: `${max ? Math.min(100, (100 * value) / max) : 100}%` }} /></span>
		</span>
	)
}
