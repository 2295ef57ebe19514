/// <reference types="vitest/config" />
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = (path: string) => decodeURIComponent(new URL(path, import.meta.url).pathname);

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "~": here("./src") } },
  build: {
    outDir: here("../src/autotuner/server/static"),
    emptyOutDir: true,
    // The server's content security policy allows no data URLs but those of pictures, and no inline scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8321" } },
  test: { include: ["src/**/*.test.ts"] },
});
