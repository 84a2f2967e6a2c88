// Talking to the server, the clock, the address, and how things are written.

import { useEffect, useRef, useState } from "preact/hooks"
import type { Problem, Session } from "../shared/types.ts"

export const base = document.querySelector("base")!.getAttribute("href")!

export class ApiError extends Error {
	constructor(readonly problem: Problem) {
		super(problem.message)
	}
}

const unreachable: Problem = {
	kind: "connection", code: "fetch", message: "The dashboard's server does not answer.", hint: "Is durable-ui still running? This page goes on trying.",
}

export async function api<T>(path: string, body?: unknown): Promise<T> {
	let response: Response
	try {
		response = await fetch(`${base}api${path}`, body === undefined ? {} : {
			method: "POST", headers: { "Content-Type": "application/json", "X-Durable-UI": "1" }, body: JSON.stringify(body),
		})
	} catch {
		throw new ApiError(unreachable)
	}
	const answer = await response.json().catch(() => ({ problem: { ...unreachable, message: `The dashboard's server answered ${response.status}.` } }))
	if (!response.ok) throw new ApiError(answer.problem)
	return answer
}

export const problemOf = (error: unknown): Problem =>
	error instanceof ApiError ? error.problem : { kind: "request", code: "", message: String(error) }

// ---- the server's clock ---------------------------------------------------------------------

let skew = 0
export function setClock(now: string | undefined): void {
	if (now) skew = Date.parse(now) - Date.now()
}
export const serverNow = () => Date.now() + skew

const clocks = new Set<() => void>()
setInterval(() => {
	if (!document.hidden) for (const clock of clocks) clock()
}, 1_000)

/** Renders anew every second, as long as the page is looked at. */
export function useTick(): number {
	const [, set] = useState(0)
	useEffect(() => {
		const clock = () => set((n) => n + 1)
		clocks.add(clock)
		return () => void clocks.delete(clock)
	}, [])
	return serverNow()
}

// ---- live data ------------------------------------------------------------------------------

export interface Live<T> {
	data: T | null
	problem: Problem | null
	/** since when there was nothing new because something is wrong */
	since: number | null
}

/** What the server has at that path, as it changes: pushed, or asked for every 2 s where that fails. */
export function useLive<T extends { now?: string }>(path: string | null): Live<T> {
	const [state, set] = useState<Live<T> & { path: string | null }>({ data: null, problem: null, since: null, path })
	useEffect(() => {
		if (path === null) return
		let source: EventSource | null = null
		let timer: ReturnType<typeof setTimeout> | undefined
		let failures = 0
		let isOver = false

		const take = (data: T) => {
			failures = 0
			setClock(data.now)
			set({ data, problem: null, since: null, path })
		}
		const stumble = (problem: Problem) =>
			set((old) => ({ data: old.path === path && problem.kind === "connection" ? old.data : null, problem, since: old.path === path && old.since ? old.since : Date.now(), path }))
		const ask = async () => {
			try {
				const data = await api<T>(path)
				if (!isOver) take(data)
			} catch (error) {
				if (!isOver) stumble(problemOf(error))
			}
		}
		const open = () => {
			if (source || isOver || document.hidden) return
			source = new EventSource(`${base}api/live?path=${encodeURIComponent(path)}`)
			source.addEventListener("data", (event) => take(JSON.parse(event.data)))
			source.addEventListener("problem", (event) => stumble(JSON.parse(event.data)))
			source.onerror = () => {
				close()
				failures++
				void ask()
				timer = setTimeout(open, 2_000)
			}
		}
		const close = () => {
			clearTimeout(timer)
			source?.close()
			source = null
		}
		const onVisibility = () => (document.hidden ? close() : open())
		open()
		document.addEventListener("visibilitychange", onVisibility)
		return () => {
			isOver = true
			close()
			document.removeEventListener("visibilitychange", onVisibility)
		}
	}, [path])
	// what was shown for another path is not shown for this one
	return state.path === path ? state : { data: null, problem: null, since: null }
}

// ---- the address ----------------------------------------------------------------------------

const listeners = new Set<() => void>()

export function go(to: string, replace = false): void {
	const target = base + to.replace(/^\//, "")
	if (target === location.pathname + location.search && !replace) return
	history[replace ? "replaceState" : "pushState"](null, "", target)
	for (const listener of listeners) listener()
	if (!replace) window.scrollTo(0, 0)
}

export function useAddress(): { path: string; query: URLSearchParams } {
	const [, set] = useState(0)
	useEffect(() => {
		const listener = () => set((n) => n + 1)
		listeners.add(listener)
		addEventListener("popstate", listener)
		return () => {
			listeners.delete(listener)
			removeEventListener("popstate", listener)
		}
	}, [])
	return { path: "/" + location.pathname.slice(base.length), query: new URLSearchParams(location.search) }
}

export const href = (to: string) => base + to.replace(/^\//, "")

// ---- how things are written -----------------------------------------------------------------

export const number = (n: number) => n.toLocaleString("en-US")

export function duration(ms: number): string {
	if (ms < 0) ms = 0
	if (ms < 1_000) return `${Math.round(ms)} ms`
	const s = ms / 1_000
	if (s < 10) return `${s.toFixed(1)} s`
	if (s < 60) return `${Math.floor(s)} s`
	const m = Math.floor(s / 60)
	if (m < 60) return m < 10 ? `${m} min ${Math.floor(s % 60)} s` : `${m} min`
	const h = Math.floor(m / 60)
	if (h < 24) return `${h} h ${m % 60} min`
	const d = Math.floor(h / 24)
	return d < 60 ? `${d} d ${h % 24} h` : `${d} d`
}

export function relative(time: string, now: number): string {
	const ms = now - Date.parse(time)
	if (Math.abs(ms) < 2_000) return "now"
	const s = Math.abs(ms) / 1_000
	const text = s < 60 ? `${Math.floor(s)} s` : s < 3_600 ? `${Math.floor(s / 60)} min` : s < 172_800 ? `${Math.floor(s / 3_600)} h` : `${Math.floor(s / 86_400)} d`
	return ms > 0 ? `${text} ago` : `in ${text}`
}

export function exact(time: string): string {
	const date = new Date(time)
	const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().replace("T", " ").slice(0, 23)
	return `${local} local time, ${date.toISOString()}`
}

export const plural = (n: number, one: string, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`

export const firstLine = (text: string) => text.split("\n", 1)[0]

/** null where that is no JSON */
export function parseJson(text: string): { value: unknown } | null {
	if (!text.trim()) return { value: null }
	try {
		return { value: JSON.parse(text) }
	} catch {
		return null
	}
}

export const emptySession: Session = {
	database: "", role: "", server: "", extension: null, actions: [], bulk: [], fields: { tags: false, graceful: false, check: false },
	readOnly: true, hidePayloads: false, user: null, now: "",
}

/** The last value that was there: so that nothing jumps while the next one is on its way. */
export function useLast<T>(value: T | null): T | null {
	const last = useRef<T | null>(null)
	if (value !== null) last.current = value
	return value ?? last.current
}
