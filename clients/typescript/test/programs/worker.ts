/** A worker to be killed: steps that write to a ledger outside of the client's business, and a transaction. */
import { App } from "../../src";
import { pool, query, type Driver } from "../support";

const { DRIVER = "pg", TAG = "", FUSED, CONCURRENCY = "10" } = process.env;
const app = new App({ pool: pool(DRIVER as Driver) });
app.workflow(
  `w-${TAG}`,
  async (ctx, n: number) => {
    for (let i = 0; i < 5; i++) {
      await ctx.step(`step ${i}`, (step) =>
        query(`INSERT INTO ledger_${TAG} VALUES ($1, $2)`, [step.id, step.attempt]).then(() => undefined),
      );
    }
    await ctx.transaction("book", async (tx) => {
      const text = `INSERT INTO book_${TAG} VALUES ($1)`;
      if ("unsafe" in tx) await tx.unsafe(text, [n]);
      else await tx.query(text, [n]);
    });
    return n;
  },
  { fused: FUSED === "1" },
);
console.log("ready");
void app.run({ queues: [`q-${TAG}`], concurrency: Number(CONCURRENCY) }).then(() => {
  console.log("drained");
  process.exit(0);
});
