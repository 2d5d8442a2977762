// Small repairs of the theme's pages, for those who listen to them and for those who read them from a file.
"use strict";
// The search fetches a snippet of each page that it finds, which a page from a file may not: there, titles must do.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
document.addEventListener("DOMContentLoaded", () => {
  // A bibliography is a list, and a list's parts are its items; "doc-biblioentry" is no longer a role.
  for (const entry of document.querySelectorAll(".citation-list > [role=doc-biblioentry]"))
    entry.setAttribute("role", "listitem");
});
