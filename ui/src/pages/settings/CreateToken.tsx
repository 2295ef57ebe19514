import { useMutation } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";
import { createToken } from "~/api/access";
import type { TokenScope } from "~/api/types";
import { Copyable } from "~/components/Copyable";
import { Problem } from "~/components/Problem";

const SCOPES: readonly { scope: TokenScope; meaning: string }[] = [
  { scope: "read", meaning: "see studies, results and logs" },
  { scope: "write", meaning: "also create, start, stop and delete studies" },
  { scope: "admin", meaning: "also manage tokens, and name commands, images and variables" },
];

export function CreateToken() {
  const [name, setName] = useState("");
  const [scope, setScope] = useState<TokenScope>("read");
  const [days, setDays] = useState("");
  const creation = useMutation({
    mutationFn: () => createToken({ name: name.trim(), scope, days: days === "" ? null : Number(days) }),
    onSuccess: () => setName(""),
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!creation.isPending) creation.mutate();
  };
  const made = creation.data;
  return (
    <div className="body create-token">
      <form className="bar" onSubmit={submit}>
        <label>
          Name
          <input
            value={name}
            required
            maxLength={63}
            placeholder="what it is for"
            autoComplete="off"
            onChange={(event) => setName(event.target.value)}
          />
        </label>
        <label>
          Scope
          <select value={scope} onChange={(event) => setScope(event.target.value as TokenScope)}>
            {SCOPES.map((one) => (
              <option key={one.scope}>{one.scope}</option>
            ))}
          </select>
        </label>
        <label>
          Days
          <input
            type="number"
            min={1}
            max={3650}
            value={days}
            placeholder="no end"
            onChange={(event) => setDays(event.target.value)}
          />
        </label>
        <button type="submit" aria-disabled={creation.isPending}>
          {creation.isPending ? "Creating…" : "Create token"}
        </button>
        <span className="quiet">{SCOPES.find((one) => one.scope === scope)?.meaning}</span>
      </form>
      <Problem error={creation.error} />
      {made && (
        <div role="status">
          <p>
            <strong>Copy the token “{made.token.name}” now: it is shown only once.</strong>
          </p>
          <Copyable text={made.secret} label="token" />
          <p className="actions">
            <button type="button" onClick={() => creation.reset()}>
              I have copied it
            </button>
          </p>
        </div>
      )}
    </div>
  );
}
