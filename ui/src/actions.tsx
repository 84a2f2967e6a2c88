// Buttons that change something. Each shows the statement that it runs.

import { useEffect, useState } from "preact/hooks"
import type { ComponentChildren } from "preact"
import { actionSql, type ActionArgs, type ActionName } from "../shared/actions.ts"
import { api, parseJson, plural, problemOf } from "./lib.ts"
import { Dialog, Field, openDialog, Shape, Sql, tell, tellProblem, Trouble, useCan, useSession } from "./ui.tsx"
import type { Problem } from "../shared/types.ts"

export type Result = Record<string, unknown> | null

/** true if it was done */
export async function act(name: ActionName, args: ActionArgs, done: string | ((result: Result) => string)): Promise<boolean> {
	const sql = actionSql(name, args)
	try {
		const { result } = await api<{ result: Result }>(`/actions/${name}`, args)
		tell(typeof done === "string" ? done : done(result), sql)
		return true
	} catch (error) {
		tellProblem(problemOf(error), sql)
		return false
	}
}

/** What pause_tree and its like answer. */
export const changed = (verb: string) => (result: Result) => {
	const n = Number(Object.values(result ?? {})[0] ?? 0)
	return `${verb}: ${plural(n, "task")} changed`
}

type Kind = "text" | "int" | "json" | "interval" | "time" | "choice" | "check"

export interface FormField {
	arg: string
	label: string
	kind?: Kind
	initial?: string
	hint?: string
	choices?: { value: string; label: string }[]
	suggestions?: string[]
	required?: boolean
	/** empty is NULL, not the function's default */
	nullable?: boolean
	/** left out as long as nobody changes it */
	unlessChanged?: boolean
	full?: boolean
}

export interface Form {
	title: string
	action: ActionName
	/** on the button */
	label: string
	dismiss?: string
	danger?: boolean
	about?: ComponentChildren
	fixed?: ActionArgs
	fields?: FormField[]
	done: string | ((result: Result) => string)
	/** below the fields, by what is in them */
	preview?: (args: ActionArgs) => ComponentChildren
	then?: (result: Result) => void
}

function read(field: FormField, text: string): { value?: unknown; bad?: string } {
	if (field.unlessChanged && text === (field.initial ?? "")) return {}
	if (field.kind === "check") return { value: text === "true" }
	if (!text.trim() && field.kind !== "text" || text === "") return field.required ? { bad: "Needed." } : field.nullable ? { value: null } : {}
	switch (field.kind) {
		case "int": return /^\s*-?\d+\s*$/.test(text) ? { value: Number(text) } : { bad: "A whole number." }
		case "json": {
			const parsed = parseJson(text)
			return parsed ?? { bad: 'This is no JSON. A text is written "in quotes".' }
		}
		case "time": {
			const ms = Date.parse(text)
			return Number.isNaN(ms) ? { bad: "No time." } : { value: new Date(ms).toISOString() }
		}
	}
	return { value: text }
}

export function FormDialog({ form, onClose }: { form: Form; onClose: () => void }) {
	const fields = form.fields ?? []
	const [texts, setTexts] = useState<Record<string, string>>(() => Object.fromEntries(fields.map((field) => [field.arg, field.initial ?? ""])))
	const [tried, setTried] = useState(false)
	const [busy, setBusy] = useState(false)
	const [problem, setProblem] = useState<Problem | null>(null)

	const args: ActionArgs = { ...form.fixed }
	const bad: Record<string, string> = {}
	for (const field of fields) {
		const one = read(field, texts[field.arg])
		if (one.bad) bad[field.arg] = one.bad
		else if (one.value !== undefined) args[field.arg] = one.value
	}
	const isBad = Object.keys(bad).length > 0
	const set = (arg: string, text: string) => setTexts({ ...texts, [arg]: text })

	async function run(event: Event) {
		event.preventDefault()
		setTried(true)
		if (isBad || busy) return
		setBusy(true)
		setProblem(null)
		try {
			const { result } = await api<{ result: Result }>(`/actions/${form.action}`, args)
			tell(typeof form.done === "string" ? form.done : form.done(result), actionSql(form.action, args))
			onClose()
			form.then?.(result)
		} catch (error) {
			setProblem(problemOf(error))
			setBusy(false)
		}
	}

	return (
		<Dialog title={form.title} onClose={onClose}>
			<form onSubmit={run} noValidate>
				{form.about && <div class="about">{form.about}</div>}
				<div class="fields">
					{fields.map((field) => (
						<div key={field.arg} class={field.full || field.kind === "json" ? "full" : undefined}>
							<Field label={field.label} hint={field.hint} bad={bad[field.arg] && (tried || texts[field.arg] !== (field.initial ?? "")) ? bad[field.arg] : null}>
								{(id) => input(field, id, texts[field.arg], (text) => set(field.arg, text))}
							</Field>
						</div>
					))}
				</div>
				{form.preview?.(args)}
				<Sql sql={actionSql(form.action, args)} />
				{problem && <Trouble problem={problem} />}
				<div class="dialog-buttons">
					<button type="button" onClick={onClose}>{form.dismiss ?? "Close"}</button>
					<button type="submit" class={form.danger ? "danger" : "primary"} disabled={busy}>{form.label}</button>
				</div>
			</form>
		</Dialog>
	)
}

function input(field: FormField, id: string, text: string, set: (text: string) => void) {
	const onInput = (event: Event) => set((event.target as HTMLInputElement).value)
	switch (field.kind) {
		case "json": return <textarea id={id} rows={Math.min(12, Math.max(2, text.split("\n").length))} spellcheck={false} value={text} onInput={onInput} dir="auto" />
		case "choice": return <select id={id} value={text} onChange={onInput}>{field.choices!.map((one) => <option key={one.value} value={one.value}>{one.label}</option>)}</select>
		case "check": return <input id={id} type="checkbox" checked={text === "true"} onChange={(event) => set(String((event.target as HTMLInputElement).checked))} />
		case "time": return <input id={id} type="datetime-local" step="1" value={text} onInput={onInput} />
		default: return (
			<>
				<input id={id} type="text" inputMode={field.kind === "int" ? "numeric" : undefined} autocomplete="off" spellcheck={false} value={text} onInput={onInput} list={field.suggestions && `${id}-list`} />
				{field.suggestions && <datalist id={`${id}-list`}>{field.suggestions.map((one) => <option key={one} value={one} />)}</datalist>}
			</>
		)
	}
}

/** A button for an action that the role may do; nothing where it may not. */
export function ActionButton({ label, action, args, done, form, kind, describedBy, onHint }: {
	label: string
	action: ActionName
	/** does it at once ... */
	args?: ActionArgs
	done?: string | ((result: Result) => string)
	/** ... or after this was filled in */
	form?: () => Omit<Form, "action">
	kind?: "primary" | "danger"
	describedBy?: string
	/** the statement, while the button is pointed at */
	onHint?: (sql: string | null) => void
}) {
	const can = useCan()
	const [busy, setBusy] = useState(false)
	if (!can(action)) return null
	const sql = actionSql(action, args ?? form?.().fixed ?? {})
	return (
		<button
			type="button" class={kind} title={sql} disabled={busy} aria-describedby={describedBy}
			onMouseEnter={() => onHint?.(sql)} onMouseLeave={() => onHint?.(null)} onFocus={() => onHint?.(sql)} onBlur={() => onHint?.(null)}
			onClick={async () => {
				if (form) return openDialog((close) => <FormDialog form={{ ...form(), action }} onClose={close} />)
				setBusy(true)
				await act(action, args!, done!)
				setBusy(false)
			}}
		>
			{label}
		</button>
	)
}

// ---- to all that match ----------------------------------------------------------------------

interface Counted { token: string; count: number; more: boolean; sample: { id: string; name: string; status: string }[]; sql: string }
interface Progress { total: number; done: number; succeeded: number; refused: { message: string; count: number }[] }

const bulkLabels: Record<string, { button: string; verb: string; done: string; danger?: boolean }> = {
	resume_failed: { button: "Resume failed: all", verb: "Resume", done: "resumed" },
	cancel: { button: "Cancel all", verb: "Cancel", done: "cancelled", danger: true },
	pause: { button: "Pause all", verb: "Pause", done: "paused" },
	resume: { button: "Resume all", verb: "Resume", done: "resumed" },
}

export function BulkButtons({ filter, names, none }: { filter: string; names: string[]; none: boolean }) {
	const { bulk } = useSession()
	const allowed = names.filter((name) => bulk.includes(name))
	if (!allowed.length) return null
	return (
		<div class="bulk" role="group" aria-label="All that match">
			<span class="faint">All that match:</span>
			{allowed.map((name) => (
				<button key={name} type="button" disabled={none} class={bulkLabels[name].danger ? "danger" : undefined} onClick={() => openDialog((close) => <BulkDialog name={name} filter={filter} onClose={close} />)}>{bulkLabels[name].button}…</button>
			))}
		</div>
	)
}

function BulkDialog({ name, filter, onClose }: { name: string; filter: string; onClose: () => void }) {
	const { verb, done, danger } = bulkLabels[name]
	const [counted, setCounted] = useState<Counted | null>(null)
	const [progress, setProgress] = useState<Progress | null>(null)
	const [problem, setProblem] = useState<Problem | null>(null)
	const [state] = useState({ stopped: false })
	useEffect(() => {
		api<Counted>(`/bulk/${name}`, { filter }).then(setCounted, (error) => setProblem(problemOf(error)))
		return () => void (state.stopped = true)
	}, [])

	async function run() {
		setProblem(null)
		try {
			let now: Progress
			do {
				now = await api<Progress>(`/bulk-run/${counted!.token}`, {})
				setProgress(now)
			} while (now.done < now.total && !state.stopped)
		} catch (error) {
			setProblem(problemOf(error))
		}
	}
	const isDone = progress !== null && progress.done >= progress.total
	return (
		<Dialog title={`${verb} all that match`} onClose={onClose}>
			{!counted && !problem && <p aria-busy="true">Counting…</p>}
			{counted && !progress && (
				<>
					<p>
						{counted.count === 0 ? `Nothing that matches can be ${done}.`
							: <>This would {verb.toLowerCase()} <strong>{plural(counted.count, "workflow")}</strong>{counted.more ? ", the newest of more" : ""}. Nothing has been changed yet.</>}
					</p>
					{counted.sample.length > 0 && (
						<ul class="plain">
							{counted.sample.map((one) => <li key={one.id}><Shape of={one.status} /> <bdi>{one.name}</bdi></li>)}
							{counted.count > counted.sample.length && <li class="faint">and {plural(counted.count - counted.sample.length, "other")}</li>}
						</ul>
					)}
					{counted.count > 0 && <Sql sql={counted.sql} />}
				</>
			)}
			{progress && (
				<div role="status">
					<progress value={progress.done} max={progress.total} aria-label="Progress" />
					<p>{isDone ? "Done: " : ""}{plural(progress.succeeded, "workflow")} {done} of {progress.total}.</p>
					{progress.refused.length > 0 && (
						<ul class="plain">{progress.refused.map((one) => <li key={one.message}><span class="faint">{one.count} refused:</span> <bdi>{one.message}</bdi></li>)}</ul>
					)}
				</div>
			)}
			{problem && <Trouble problem={problem} />}
			<div class="dialog-buttons">
				<button type="button" onClick={onClose}>{progress && !isDone ? "Stop" : "Close"}</button>
				{counted && counted.count > 0 && !progress && <button type="button" class={danger ? "danger" : "primary"} onClick={run}>{verb} {plural(counted.count, "workflow")}</button>}
			</div>
		</Dialog>
	)
}
