// The web side: who may ask, what may be asked, and the built pages.

import { createHash, timingSafeEqual } from "node:crypto"
import { readFile } from "node:fs/promises"
import { extname, join, normalize } from "node:path"
import { Hono, type Context } from "hono"
import { bodyLimit } from "hono/body-limit"
import { compress } from "hono/compress"
import { secureHeaders } from "hono/secure-headers"
import { streamSSE } from "hono/streaming"
import { Actions } from "./act.ts"
import { explain, notFound, Refusal, type Database } from "./db.ts"
import { Live, type Message } from "./live.ts"
import { Queries, type Options } from "./queries.ts"

export interface AppOptions extends Options {
	basePath: string
	/** user:password */
	basicAuth?: string
	/** of a proxy that has asked who it is */
	trustedHeader?: string
	/** names by which the dashboard may be called; null: any */
	hosts: string[] | null
	client: string
}

const types: Record<string, string> = {
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".woff2": "font/woff2", ".json": "application/json",
}

function same(given: string, wanted: string): boolean {
	const hash = (text: string) => createHash("sha256").update(text).digest()
	return timingSafeEqual(hash(given), hash(wanted))
}

export function createApp(db: Database, options: AppOptions) {
	const queries = new Queries(db, options)
	const actions = new Actions(queries)
	const user = (c: Context): string | null => (options.trustedHeader ? (c.req.header(options.trustedHeader) ?? null) : null)

	/** What a page asks for, at once or as it changes. */
	async function load(path: string): Promise<unknown> {
		const [route, search = ""] = path.split("?")
		const [, first, id, what] = route.split("/")
		const query = new URLSearchParams(search)
		const number = (name: string) => Math.max(0, Math.trunc(Number(query.get(name)) || 0))
		if (id === undefined)
			switch (first) {
				case "overview": return queries.overview()
				case "workflows": return queries.workflows(query)
				case "queues": return { queues: await queries.queues() }
				case "executors": return queries.executors()
				case "schedules": return queries.schedules()
				case "next-runs": return queries.nextRuns(query.get("cron") ?? "", query.get("timezone") || "UTC")
				case "check": return queries.check
			}
		if (first === "workflows" && id)
			switch (what) {
				case undefined: return queries.workflow(id)
				case "steps": return queries.steps(id, number("from"))
				case "events": return queries.events(id, number("after"))
			}
		if (first === "tasks" && id && what === undefined) return queries.payload(id)
		throw notFound(`There is nothing at ${route}.`)
	}
	const live = new Live(db, load)

	const app = new Hono().basePath(options.basePath)
	app.onError((error, c) => {
		const refusal = explain(error)
		return c.json({ problem: refusal.problem }, refusal.status)
	})
	app.notFound((c) => c.json({ problem: notFound("There is nothing here.").problem }, 404))

	app.use(secureHeaders({
		contentSecurityPolicy: {
			defaultSrc: ["'none'"], scriptSrc: ["'self'"], styleSrc: ["'self'"], imgSrc: ["'self'"], fontSrc: ["'self'"], connectSrc: ["'self'"],
			baseUri: ["'self'"], formAction: ["'none'"], frameAncestors: ["'none'"],
		},
		xFrameOptions: "DENY",
		referrerPolicy: "no-referrer",
		crossOriginResourcePolicy: "same-origin",
		strictTransportSecurity: false,
	}))

	app.get("/healthz", async (c) => {
		await db.read("SELECT 1")
		return c.text("ok\n")
	})

	// A page of somebody else's that has its own name point here must get nothing.
	app.use(async (c, next) => {
		if (options.hosts) {
			const host = (c.req.header("host") ?? "").replace(/:\d+$/, "").toLowerCase()
			if (!options.hosts.includes(host))
				throw new Refusal({ kind: "request", code: "host", message: `The dashboard is not called "${host}" here.`, hint: "Start it with --allow-host to let it be." }, 403)
		}
		await next()
	})
	app.use(async (c, next) => {
		if (options.basicAuth) {
			const given = /^Basic (.*)$/.exec(c.req.header("authorization") ?? "")?.[1] ?? ""
			if (!same(Buffer.from(given, "base64").toString(), options.basicAuth)) {
				c.header("WWW-Authenticate", 'Basic realm="durable", charset="UTF-8"')
				return c.text("Who are you?\n", 401)
			}
		}
		if (options.trustedHeader && !c.req.header(options.trustedHeader)) return c.text("The proxy does not say who you are.\n", 401)
		await next()
	})
	// What changes something comes from our own pages: others can neither send this header nor JSON.
	app.use("/api/*", async (c, next) => {
		if (c.req.method !== "GET") {
			const origin = c.req.header("origin")
			const site = c.req.header("sec-fetch-site")
			// a proxy may have changed the host, but no page the site that its browser tells
			const isSame = site ? site === "same-origin" || site === "none" : !origin || origin.replace(/^https?:\/\//, "") === c.req.header("host")
			const isOurs = isSame && c.req.header("x-durable-ui") === "1" && /^application\/json\b/.test(c.req.header("content-type") ?? "")
			if (!isOurs) throw new Refusal({ kind: "request", code: "csrf", message: "This did not come from a page of the dashboard." }, 403)
		}
		c.header("Cache-Control", "no-store")
		await next()
	})
	app.use("/api/*", bodyLimit({ maxSize: 16 * 1024 * 1024 }))
	app.use(async (c, next) => (c.req.path.endsWith("/api/live") ? next() : compress()(c, next)))

	app.get("/api/session", async (c) => {
		if (c.req.query("fresh")) db.forgetRights()
		return c.json(await queries.session(user(c)))
	})
	app.get("/api/live", (c) =>
		streamSSE(c, async (stream) => {
			const pending: Message[] = []
			let wake = () => {}
			const unsubscribe = live.subscribe(c.req.query("path") ?? "", (message) => {
				pending.splice(0, pending.length, message)
				wake()
			})
			stream.onAbort(() => {
				unsubscribe()
				wake()
			})
			while (!stream.aborted) {
				const message = pending.shift()
				if (message)
					await stream.writeSSE("data" in message ? { event: "data", data: message.data } : { event: "problem", data: JSON.stringify(message.problem) })
				else {
					let timer: NodeJS.Timeout | undefined
					await Promise.race([new Promise<void>((resolve) => (wake = resolve)), new Promise<void>((resolve) => (timer = setTimeout(resolve, 15_000)))])
					clearTimeout(timer)
					if (!pending.length && !stream.aborted) await stream.writeSSE({ event: "alive", data: "" })
				}
			}
		}))
	app.post("/api/actions/:name", async (c) => {
		const body = await json(c)
		const answer = await actions.run(c.req.param("name"), body)
		live.refresh()
		return c.json(answer)
	})
	app.post("/api/bulk/:name", async (c) => {
		const body = await json(c)
		return c.json(await actions.dryRun(c.req.param("name"), typeof body.filter === "string" ? body.filter : ""))
	})
	app.post("/api/bulk-run/:token", async (c) => {
		const answer = await actions.next(c.req.param("token"))
		live.refresh()
		return c.json(answer)
	})
	app.post("/api/check", async (c) => {
		if (options.readOnly || !(await db.rights()).functions.has("check"))
			throw new Refusal({ kind: "refused", code: "42501", message: "This role may not call durable.check." }, 403)
		void queries.runCheck(120_000).then(() => live.refresh())
		live.refresh()
		return c.json(queries.check)
	})
	app.get("/api/*", async (c) => {
		const url = new URL(c.req.url)
		return c.json(await load(url.pathname.slice(url.pathname.indexOf("/api") + 4) + url.search))
	})

	app.get("/metrics", async (c) => {
		const [{ metrics }] = await db.read("SELECT durable.metrics() AS metrics")
		return c.body(metrics, 200, { "Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8" })
	})

	const root = options.basePath === "/" ? "/" : options.basePath + "/"
	app.get("*", async (c) => {
		const path = normalize(decodeURIComponent(new URL(c.req.url).pathname).slice(root.length - 1))
		const extension = extname(path)
		if (path.startsWith("/assets/") || path === "/icon.svg") {
			try {
				const body = await readFile(join(options.client, path))
				return c.body(body, 200, {
					"Content-Type": types[extension] ?? "application/octet-stream",
					"Cache-Control": path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
				})
			} catch {
				return c.notFound()
			}
		}
		const html = await readFile(join(options.client, "index.html"), "utf8")
		return c.body(html.replace('<base href="/" />', `<base href="${root}" />`), 200, { "Content-Type": types[".html"], "Cache-Control": "no-cache" })
	})

	return { app, queries, live }
}

async function json(c: Context): Promise<Record<string, unknown>> {
	try {
		const body = await c.req.json()
		if (body && typeof body === "object" && !Array.isArray(body)) return body
	} catch { /* below */ }
	throw new Refusal({ kind: "request", code: "json", message: "The body is no JSON object." })
}
