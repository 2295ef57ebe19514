/** Says that numbers are simulated; every page that shows some has it. */
export function Simulated({ sentence }: { sentence: string }) {
  if (!sentence) return null;
  return (
    <p className="simulated" role="note">
      {sentence.charAt(0).toUpperCase() + sentence.slice(1)}.
    </p>
  );
}
