import { Link } from "@tanstack/react-router";

export function StudyLink({ name }: { name: string }) {
  return (
    <Link className="name" to="/studies/$name" params={{ name }}>
      {name}
    </Link>
  );
}

export function Quiet({ text }: { text: string }) {
  return text ? text : <span className="quiet">–</span>;
}
