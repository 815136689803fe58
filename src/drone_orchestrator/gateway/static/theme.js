/* Built by frontend/build.mjs: change frontend/, not this file. Contains Preact (MIT). */
(()=>{var e=localStorage.getItem("theme");(e==="light"||e==="dark")&&(document.documentElement.dataset.theme=e);})();
