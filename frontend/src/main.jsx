import { render } from 'preact';

import '../styles/main.css';
import { App } from './app.jsx';
import { start } from './store.js';

start();
render(<App />, document.getElementById('app'));
