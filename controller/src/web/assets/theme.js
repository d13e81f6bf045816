// Runs before the first paint, so that no page flashes in the other theme.
// The server writes data-theme when the user chose one; "system" follows the device.
(() => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { if (root.dataset.choice !== "light" && root.dataset.choice !== "dark") root.dataset.theme = dark.matches ? "dark" : "light"; };
  follow();
  dark.addEventListener("change", () => { follow(); dispatchEvent(new Event("theme")); });
})();
