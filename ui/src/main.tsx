import { render } from "preact"
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import "@fontsource-variable/inter/wght.css"
import "./style.css"
import type { Problem, Session } from "../shared/types.ts"
import { api, base, emptySession, go, problemOf, useAddress } from "./lib.ts"
import { Dialog, Dialogs, Link, openDialog, Messages, SessionContext, Trouble } from "./ui.tsx"
import { ExecutorsPage } from "./pages/executors.tsx"
import { OverviewPage } from "./pages/overview.tsx"
import { QueuesPage } from "./pages/queues.tsx"
import { SchedulesPage } from "./pages/schedules.tsx"
import { WorkflowPage } from "./pages/workflow.tsx"
import { WorkflowsPage } from "./pages/workflows.tsx"

const pages = [["/", "Overview", "o"], ["/workflows", "Workflows", "w"], ["/queues", "Queues", "q"], ["/schedules", "Schedules", "s"], ["/executors", "Executors", "e"]] as const

const themes = ["auto", "light", "dark"] as const
type Theme = (typeof themes)[number]

function useTheme(): [Theme, () => void] {
	const [theme, set] = useState<Theme>(() => (localStorage.getItem("durable-theme") as Theme | null) ?? "auto")
	useLayoutEffect(() => {
		if (theme === "auto") delete document.documentElement.dataset.theme
		else document.documentElement.dataset.theme = theme
		localStorage.setItem("durable-theme", theme)
	}, [theme])
	return [theme, () => set(themes[(themes.indexOf(theme) + 1) % themes.length])]
}

/** Keys: / searches, g and a letter goes to a page, j and k move along the rows, ? tells. */
function useKeys(help: () => void) {
	const after = useRef("")
	useEffect(() => {
		const onKey = (event: KeyboardEvent) => {
			const target = event.target as HTMLElement
			if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog")) return
			const page = after.current === "g" && pages.find(([, , key]) => key === event.key)
			after.current = event.key
			if (page) return go(page[0])
			if (event.key === "/") {
				event.preventDefault()
				document.getElementById("find")?.focus()
			} else if (event.key === "?") help()
			else if (event.key === "j" || event.key === "k") {
				const links = [...document.querySelectorAll<HTMLElement>("[data-row-link]")]
				const next = links[Math.max(0, Math.min(links.length - 1, links.indexOf(document.activeElement as HTMLElement) + (event.key === "j" ? 1 : -1)))]
				next?.focus()
				next?.scrollIntoView({ block: "nearest" })
			}
		}
		addEventListener("keydown", onKey)
		return () => removeEventListener("keydown", onKey)
	}, [])
}

const help = () => openDialog((close) => (
	<Dialog title="Keys" onClose={close}>
		<dl class="keys">
			{[["/", "find by name or id"], ...pages.map(([, label, key]) => [`g ${key}`, label.toLowerCase()]), ["j, k", "next, previous row"], ["Enter", "open it"], ["Esc", "close"], ["?", "this"]]
				.map(([key, what]) => <><dt><kbd>{key}</kbd></dt><dd>{what}</dd></>)}
		</dl>
		<div class="dialog-buttons"><button type="button" onClick={close}>Close</button></div>
	</Dialog>
))

function Find() {
	const [text, set] = useState("")
	return (
		<form
			class="find" role="search"
			onSubmit={(event) => {
				event.preventDefault()
				const wanted = text.trim()
				if (!wanted) return
				if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(wanted)) {
					const id = wanted.toLowerCase()
					const workflow = id.slice(0, -6) + "000000"
					go(id === workflow ? `/workflows/${id}` : `/workflows/${workflow}?step=${parseInt(id.slice(-6), 16) - 1}`)
				} else go(`/workflows?name=${encodeURIComponent(wanted)}`)
				set("")
			}}
		>
			<input id="find" type="search" aria-label="Find by name or id" placeholder="Name or id   /" autocomplete="off" spellcheck={false} value={text} onInput={(event) => set((event.target as HTMLInputElement).value)} />
		</form>
	)
}

function App() {
	const { path, query } = useAddress()
	const [session, setSession] = useState<Session>(emptySession)
	const [problem, setProblem] = useState<Problem | null>(null)
	const [theme, nextTheme] = useTheme()
	useKeys(help)

	// what the role may do can change while the page is open
	useEffect(() => {
		let timer: ReturnType<typeof setTimeout>
		let isOver = false
		const ask = async () => {
			try {
				const now = await api<Session>("/session")
				if (isOver) return
				setSession((old) => (JSON.stringify({ ...old, now: "" }) === JSON.stringify({ ...now, now: "" }) ? old : now))
				setProblem(null)
			} catch (error) {
				if (!isOver) setProblem(problemOf(error))
			}
			timer = setTimeout(ask, document.hidden ? 60_000 : 5_000)
		}
		void ask()
		return () => {
			isOver = true
			clearTimeout(timer)
		}
	}, [])

	const [, first, id] = path.split("/")
	const current = "/" + first
	const title = pages.find(([to]) => to === current)?.[1] ?? "Nothing here"
	useEffect(() => {
		if (!id) document.title = `${title} · ${session.database || "durable"}`
	}, [title, id, session.database])

	return (
		<SessionContext.Provider value={session}>
			<a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")!.focus() }}>Skip to the page</a>
			<header>
				<img class="mark" src={`${base}icon.svg`} alt="" width="20" height="20" />
				<nav aria-label="Pages">
					{pages.map(([to, label]) => <Link key={to} to={to} aria-current={current === to ? "page" : undefined}>{label}</Link>)}
				</nav>
				<Find />
				<div class="where">
					<span title={`Database ${session.database}, role ${session.role}, PostgreSQL ${session.server}${session.extension ? `, durable ${session.extension}` : ""}`}>
						<bdi>{session.database}</bdi>{session.role && <span class="faint"> as <bdi>{session.role}</bdi></span>}
					</span>
					{session.readOnly && session.role && <span class="tag">read-only</span>}
					{session.user && <span class="tag"><bdi>{session.user}</bdi></span>}
					<button type="button" class="quiet" aria-label={`Theme: ${theme}`} title={`Theme: ${theme}`} onClick={nextTheme}>
						<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="1.4" /><path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" /></svg>
					</button>
					<button type="button" class="quiet" aria-label="Keys" title="Keys: ?" onClick={help}>?</button>
				</div>
			</header>
			<main id="main" tabIndex={-1}>
				{problem && problem.code === "fetch" && <Trouble problem={problem} />}
				{first === "" ? <OverviewPage />
					: first === "workflows" ? (id ? <WorkflowPage key={id} id={id} query={query} /> : <WorkflowsPage query={query} />)
					: first === "queues" ? <QueuesPage />
					: first === "schedules" ? <SchedulesPage />
					: first === "executors" ? <ExecutorsPage />
					: <><h1>Nothing here</h1><p>There is no page of that name. <Link to="/">Overview</Link></p></>}
			</main>
			<Dialogs />
			<Messages />
		</SessionContext.Provider>
	)
}

render(<App />, document.getElementById("app")!)
