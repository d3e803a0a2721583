"use strict";
// <button data-copy="ID of an input" data-copy-status="ID of an element that says how it went">
for (const button of document.querySelectorAll("[data-copy]")) {
    const input = document.getElementById(button.dataset.copy);
    const status = document.getElementById(button.dataset.copyStatus);
    button.addEventListener("click", async () => {
        input.select();
        try {
            await navigator.clipboard.writeText(input.value);
            status.textContent = "Copied.";
        } catch {
            // Over plain HTTP a browser gives no access to the clipboard.
            status.textContent = "It is selected: copy it with Ctrl+C or ⌘C.";
        }
    });
}
