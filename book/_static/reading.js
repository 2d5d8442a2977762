// Small repairs of the theme's pages for those who listen to them.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  // A bibliography is a list, and a list's parts are its items; "doc-biblioentry" is no longer a role.
  for (const entry of document.querySelectorAll(".citation-list > [role=doc-biblioentry]"))
    entry.setAttribute("role", "listitem");
});
