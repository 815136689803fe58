// Runs before the page is drawn, so that the theme does not flash. `auto` follows the system.

const chosen = localStorage.getItem('theme');
if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
