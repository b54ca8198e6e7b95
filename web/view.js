// The view library, named in one place.
export {
  h, html, render, Component, createContext, useState, useReducer, useEffect, useLayoutEffect, useRef, useMemo,
  useCallback, useContext, useErrorBoundary,
} from '/vendor/htm-3.1.1/standalone.module.js';
