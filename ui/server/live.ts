// Who watches the same thing shares one look at it, every two seconds, and is told when it has
// changed. A workflow that is watched is looked at as soon as it says something: one connection
// waits for that.

import type { Client } from "pg"
import type { Problem } from "../shared/types.ts"
import { explain, type Database } from "./db.ts"

const period = 2_000

export type Message = { data: string } | { problem: Problem }
type Listener = (message: Message) => void

class Topic {
	readonly listeners = new Set<Listener>()
	last: Message | null = null
	private timer: NodeJS.Timeout | undefined
	private looking = false
	private again = false

	constructor(private readonly load: () => Promise<unknown>) {}

	async look(): Promise<void> {
		clearTimeout(this.timer)
		if (this.looking) {
			this.again = true
			return
		}
		this.looking = true
		let message: Message
		try {
			message = { data: JSON.stringify(await this.load()) }
		} catch (error) {
			message = { problem: explain(error).problem }
		}
		this.looking = false
		// the clock alone is no news
		const strip = (one: Message | null) => JSON.stringify(one).replace(/\\"now\\":\\"[^"]*\\"/, "")
		const isNew = strip(message) !== strip(this.last)
		this.last = message
		if (isNew) for (const listener of this.listeners) listener(message)
		if (this.again) {
			this.again = false
			void this.look()
		} else if (this.listeners.size) this.timer = setTimeout(() => void this.look(), period)
	}

	stop(): void {
		clearTimeout(this.timer)
	}
}

export class Live {
	private readonly topics = new Map<string, Topic>()
	private waiting: string | null = null
	private waiter: Client | null = null
	private closed = false

	constructor(private readonly db: Database, private readonly load: (path: string) => Promise<unknown>) {}

	subscribe(path: string, listener: Listener): () => void {
		let topic = this.topics.get(path)
		if (!topic) this.topics.set(path, (topic = new Topic(() => this.load(path))))
		topic.listeners.add(listener)
		if (topic.last && topic.listeners.size > 1) listener(topic.last)
		else void topic.look()
		const [, workflow] = /^\/workflows\/([0-9a-f-]{36})$/.exec(path) ?? []
		if (workflow) void this.wait(workflow)
		return () => {
			topic.listeners.delete(listener)
			if (topic.listeners.size) return
			topic.stop()
			this.topics.delete(path)
		}
	}

	/** After an action: everybody looks again at once. */
	refresh(): void {
		for (const topic of this.topics.values()) void topic.look()
	}

	/** Waits for events of the workflow that was opened last, for as long as it is watched. */
	private async wait(workflow: string): Promise<void> {
		const isRunning = this.waiting !== null
		this.waiting = workflow
		if (isRunning || !(await this.db.rights().catch(() => null))?.functions.has("wait_for_event")) {
			if (!isRunning) this.waiting = null
			return
		}
		try {
			this.waiter = await this.db.alone()
			let last = new Map<string, number>()
			while (!this.closed && this.waiting && this.topics.has(`/workflows/${this.waiting}`)) {
				const id: string = this.waiting
				const topic = this.topics.get(`/workflows/${id}`)!
				const seen = topic.last && "data" in topic.last ? JSON.parse(topic.last.data) : null
				if (!seen || /COMPLETED|FAILED|CANCELLED/.test(seen.workflow.status)) {
					await new Promise((resolve) => setTimeout(resolve, 500))
					continue
				}
				const after: number = Math.max(last.get(id) ?? 0, seen.last_event)
				const { rows } = await this.waiter.query("CALL durable.wait_for_event($1, NULL, $2, '5 s', NULL)", [id, after])
				if (rows[0]?.n) last.set(id, rows[0].n)
				// an event, or its end
				void topic.look()
			}
		} catch {
			// the two seconds remain
			await new Promise((resolve) => setTimeout(resolve, 2_000))
		} finally {
			await this.waiter?.end().catch(() => {})
			this.waiter = null
			const next: string | null = this.waiting
			this.waiting = null
			if (!this.closed && next && this.topics.has(`/workflows/${next}`)) void this.wait(next)
		}
	}

	close(): void {
		this.closed = true
		for (const topic of this.topics.values()) topic.stop()
		void this.waiter?.end().catch(() => {})
	}
}
