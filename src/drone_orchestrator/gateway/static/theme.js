/* Built by frontend/build.mjs: change frontend/, not this file. Contains Preact: licences.txt. */
(()=>{var e=localStorage.getItem("theme");(e==="light"||e==="dark")&&(document.documentElement.dataset.theme=e);})();
