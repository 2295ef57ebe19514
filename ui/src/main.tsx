import "./styles/base.css";
import "./styles/parts.css";
import "./styles/actions.css";
import "./styles/plots.css";
import "./styles/study.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { client } from "./api/queries";
import { loadEarly, router } from "./router";
import { applyTheme, storedTheme } from "./theme";

loadEarly();
applyTheme(storedTheme());

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
