/** Part of the page with a heading; `aside` is shown opposite the heading. */
export function Panel({ id, title, aside, class: extra = '', children }) {
  return (
    <section id={id} class={`panel ${extra}`} aria-labelledby={`${id}-title`} tabIndex={-1}>
      <header class="panel-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

/** Scrollable content of a panel; a named region that the keyboard can reach. */
export const Scroll = ({ label, class: extra = '', children }) => (
  <div class={`scroll ${extra}`} tabIndex={0} role="region" aria-label={label}>
    {children}
  </div>
);
