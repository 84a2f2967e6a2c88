import { defineConfig } from "vite"

// `base` is relative: the server says in <base> where the dashboard stands.
export default defineConfig(({ isSsrBuild }) => ({
	base: "./",
	oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
	build: isSsrBuild
		? { target: "node20", minify: false, copyPublicDir: false }
		: { target: "es2022", outDir: "dist/client", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
}))
