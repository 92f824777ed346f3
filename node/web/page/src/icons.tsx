// Icons, drawn alike everywhere: fonts lack many of the characters.
const paths = {
  close: 'M6 6l12 12M18 6L6 18',
  menu: 'M4 7h16M4 12h16M4 17h16',
  back: 'M15 5l-7 7 7 7',
  react: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9 9.5v.5M15 9.5v.5M8.5 14.5c2 2.4 5 2.4 7 0',
  reply: 'M10 7L5 12l5 5M5 12h9a5 5 0 0 1 5 5v1',
  edit: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  bin: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5',
  info: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5M12 7.5v.5',
  send: 'M4 12L20 4l-5 16-3.5-6.5z',
  save: 'M5 12.5l4.5 4.5L19 7.5',
  attach: 'M19 11.5l-7.5 7.5a5 5 0 0 1-7-7L12 4.5a3.3 3.3 0 0 1 4.7 4.7L9.2 16.7a1.6 1.6 0 0 1-2.3-2.3L13.5 7.8',
  file: 'M7 3h7l4 4v14H7zM14 3v4h4',
  download: 'M12 4v11M7 10.5l5 5 5-5M5 20h14',
  search: 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.3 15.3L20 20',
  pin: 'M9 3h6l-1 7 3 3H7l3-3zM12 13v8',
  mute: 'M6 16V11a6 6 0 0 1 9-5M18 10v6l1.5 2H8M10 20h4M4 4l16 16',
  thread: 'M4 5h16v10H11l-4 4v-4H4zM8 9h8M8 12h5',
  mark: 'M3 18L8 6l5 12M5 14h6M15 12a3.5 3.5 0 1 1 0 4.5M20 11v8',
  down: 'M12 5v14M6 13l6 6 6-6',
  doctor: 'M3 12h4l2.5-6 4 12 2.5-6h5',
  out: 'M14 5H6v14h8M10 12h10M17 8.5L20.500 12 17 15.5',
}

export function Icon({ of }: { of: keyof typeof paths }) {
  return (
    <svg class="ic" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[of]} />
    </svg>
  )
}
