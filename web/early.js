// Sets theme and language before the first paint; a classic script, so that it runs before the styles apply.
(function () {
  var kept = function (name) { try { return localStorage.getItem('tidegate.' + name); } catch (error) { return null; } };
  var theme = kept('theme') || 'auto';
  var dark = theme === 'dark' || (theme === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  var lang = kept('lang') || (/^zh/i.test(navigator.language) ? 'zh' : 'en');
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
})();
