/** A part of the page with a heading that names it; `aside` stands opposite of it. */
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

/** What scrolls inside a panel; reached by keyboard, as a region with a name of its own. */
export const Scroll = ({ label, class: extra = '', children }) => (
  <div class={`scroll ${extra}`} tabIndex={0} role="region" aria-label={label}>
    {children}
  </div>
);
