import "~/styles/base.css";
import "~/styles/parts.css";
import "~/styles/plots.css";
import "~/styles/study.css";
import "~/styles/report.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { answerFrom } from "~/api/client";
import { client } from "~/api/queries";
import { applyTheme, storedTheme } from "~/theme";
import { ReportContext } from "./context";
import { answering, embedded } from "./data";
import { reportRouter } from "./router";

const data = embedded();
answerFrom(answering(data));
// Everything is here, whether the browser has a network or not.
client.setDefaultOptions({
  queries: { staleTime: Number.POSITIVE_INFINITY, retry: false, networkMode: "always" },
});
applyTheme(storedTheme());

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <ReportContext value={data}>
        <QueryClientProvider client={client}>
          <RouterProvider router={reportRouter(data.study)} />
        </QueryClientProvider>
      </ReportContext>
    </StrictMode>,
  );
}
