// A worker as small as it can be, for the demo and for the tests: it claims workflows, drives
// them by their handlers, and suspends those that have to wait.

import pg from "pg"

class Suspended extends Error {}
class Lost extends Error {}
export class Fatal extends Error {}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export class Context {
	constructor(worker, row) {
		Object.assign(this, { worker, id: row.workflow_id, name: row.name, input: row.input, lease: row.lease, next: 0, open: [] })
	}

	async step(name, fn, { retries = 0, backoff = "1 s", timeout = null, input = null } = {}) {
		const sequence = this.next++
		for (;;) {
			const claim = await this.worker.call("claim_step", {
				workflow_id: this.id, sequence, name, input: JSON.stringify(input), lease: this.lease, executor_id: this.worker.id, max_retries: retries, backoff, timeout,
			})
			if (claim.action === "REPLAY") return claim.output
			if (claim.action === "FAILED") throw new Error(claim.error)
			if (claim.action === "WAIT") {
				const rest = new Date(claim.run_at) - Date.now()
				if (rest > 1_000) await this.suspend([claim.step_id])
				await sleep(Math.max(20, rest))
				continue
			}
			if (claim.action !== "EXECUTE") throw new Lost(claim.action)
			const fence = { task_id: claim.step_id, lease: this.lease, attempt: claim.attempt }
			let output
			try {
				output = (await fn(claim)) ?? null
			} catch (error) {
				if (error instanceof Lost) throw error
				await this.worker.call("fail", { ...fence, error: String(error.message), retryable: !(error instanceof Fatal) })
				continue
			}
			await this.worker.call("complete", { ...fence, output: JSON.stringify(output) })
			return output
		}
	}

	async wait(fn, args) {
		const sequence = this.next++
		const claim = await this.worker.call(fn, { workflow_id: this.id, sequence, ...args, lease: this.lease })
		if (claim.action === "REPLAY") return claim.output
		if (claim.action === "FAILED") throw new Error(claim.error)
		return this.suspend([claim.step_id])
	}
	sleep(name, duration) {
		return this.wait("sleep", { name, duration })
	}
	signal(name, timeout = null) {
		return this.wait("await_signal", { name, timeout })
	}
	callback(name, timeout = null) {
		return this.wait("await_callback", { name, timeout })
	}

	/** A child in a queue: its step's id, to be waited for by `all`. */
	async child(name, handler, input, queue) {
		const sequence = this.next++
		const child = await this.worker.call("start_child", { parent_id: this.id, sequence, name, handler, input: JSON.stringify(input), queue, lease: this.lease })
		const { step_id } = await this.worker.call("step_id", { workflow_id: this.id, sequence })
		return { ...child, step_id }
	}
	async all(children) {
		const open = children.filter((child) => !["COMPLETED", "FAILED", "CANCELLED"].includes(child.status))
		if (open.length) await this.suspend(open.map((child) => child.step_id), "all")
		const failed = children.find((child) => child.status !== "COMPLETED")
		if (failed) throw new Error(failed.error ?? "a child was cancelled")
		return children.map((child) => child.output)
	}

	emit(topic, payload) {
		return this.worker.call("emit", { workflow_id: this.id, topic, payload: JSON.stringify(payload), lease: this.lease })
	}

	async suspend(open, until = "any") {
		const { status } = await this.worker.call("suspend", { workflow_id: this.id, executor_id: this.worker.id, lease: this.lease, open, until })
		throw status === "RUNNING" ? new Lost("ask again") : new Suspended()
	}
}

export class Worker {
	constructor({ connection, id, queues, handlers, concurrency = 4, version = null }) {
		Object.assign(this, { id, queues, handlers, concurrency, version, running: 0, stopped: false })
		this.connection = connection
		this.pool = new pg.Pool({ connectionString: connection, max: concurrency + 1, application_name: id })
		this.pool.on("error", () => {})
	}

	async call(fn, args) {
		const names = Object.keys(args)
		try {
			const { rows } = await this.pool.query(
				`SELECT * FROM durable.${fn}(${names.map((name, i) => `${name} => $${i + 1}`).join(", ")})`, Object.values(args))
			return rows.length === 1 && Object.keys(rows[0]).length === 1 ? { ...rows[0], value: Object.values(rows[0])[0] } : rows[0]
		} catch (error) {
			if (/^WF/.test(error.code ?? "")) throw new Lost(error.message)
			throw error
		}
	}

	async drive(row) {
		this.running++
		try {
			const context = new Context(this, row)
			for (;;) {
				try {
					const output = await this.handlers[row.handler](context)
					await this.call("complete", { task_id: context.id, output: JSON.stringify(output ?? null), lease: context.lease })
				} catch (error) {
					if (error.message === "ask again") {
						context.next = 0
						continue
					}
					if (!(error instanceof Lost || error instanceof Suspended) && error.message)
						await this.call("fail", { task_id: context.id, error: error.message, lease: context.lease })
				}
				break
			}
		} catch {
			// lost: somebody else drives it, or the server is away
		} finally {
			this.running--
		}
	}

	async run() {
		while (!this.stopped) {
			try {
				this.waiter = new pg.Client({ connectionString: this.connection, application_name: `${this.id} waits` })
				this.waiter.on("error", () => {})
				await this.waiter.connect()
				while (!this.stopped) {
					await this.pool.query("SELECT durable.tick()")
					const room = this.concurrency - this.running
					if (room > 0)
						for (const queue of this.queues) {
							const { rows } = await this.pool.query("SELECT * FROM durable.claim($1, $2, $3, handlers => $4, app_version => $5)",
								[queue, this.id, room, Object.keys(this.handlers), this.version])
							for (const row of rows) void this.drive(row)
						}
					// full: the next look is when there is room
					if (this.running >= this.concurrency) await sleep(50)
					else await this.waiter.query("CALL durable.wait_for_work($1, $2, '2 s', true, NULL)", [this.id, this.queues])
				}
			} catch (error) {
				if (!this.stopped) await sleep(500)
			} finally {
				await this.waiter?.end().catch(() => {})
			}
		}
	}

	/** As a process that is killed: nothing is handed back. */
	async kill() {
		this.stopped = true
		await this.waiter?.end().catch(() => {})
		await this.pool.end().catch(() => {})
	}

	async stop() {
		this.stopped = true
		await this.call("release", { executor_id: this.id }).catch(() => {})
		await this.kill()
	}
}
