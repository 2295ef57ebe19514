import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const here = (path: string) => decodeURIComponent(new URL(path, import.meta.url).pathname);

/** Puts the script and the style into the page, and their hashes into its content security policy. */
function oneFile(): Plugin {
  return {
    name: "one-file",
    enforce: "post",
    async generateBundle(_, bundle) {
      const page = bundle["report.html"];
      const files = Object.values(bundle).filter((file) => file !== page);
      const scripts = files.flatMap((file) => (file.type === "chunk" ? [file.code] : []));
      const styles = files.flatMap((file) =>
        file.type === "asset" && file.fileName.endsWith(".css") ? [String(file.source)] : [],
      );
      if (page?.type !== "asset" || scripts.length !== 1 || styles.length !== 1 || files.length !== 2) {
        throw new Error(`the report must be one script and one style, not ${Object.keys(bundle).join(", ")}`);
      }
      const script = (scripts[0] ?? "")
        .trim()
        .replaceAll("</script", "<\\/script")
        .replaceAll("<!--", "<\\!--");
      const style = (styles[0] ?? "").trim();
      const policy = [
        "default-src 'none'",
        `script-src '${await hash(script)}'`,
        `style-src '${await hash(style)}'`,
        "base-uri 'none'",
        "form-action 'none'",
      ].join("; ");
      page.source = String(page.source)
        .replace(/\s*<script type="module"[^>]*src=[^>]*><\/script>/, "")
        .replace(/\s*<link rel="stylesheet"[^>]*>/, "")
        .replace("autotuner-report-policy", () => policy)
        .replace("</head>", () => `  <style>${style}</style>\n  </head>`)
        .replace("</body>", () => `  <script type="module">${script}</script>\n  </body>`);
      for (const file of files) delete bundle[file.fileName];
    },
  };
}

async function hash(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}`;
}

/** The page of reports: one file, which Python fills with the data of a study. */
export default defineConfig({
  plugins: [react(), oneFile()],
  resolve: { alias: { "~": here("./src") } },
  build: {
    outDir: here("../src/autotuner/report/documents/static"),
    emptyOutDir: true,
    rollupOptions: { input: here("./report.html") },
    cssCodeSplit: false,
    modulePreload: false,
    reportCompressedSize: false,
  },
});
