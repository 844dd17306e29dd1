// The emoji that people and agents use most, by Slack's short names.

const GLYPHS = `
+1 👍|-1 👎|thumbsup 👍|thumbsdown 👎|alarm_clock ⏰|arrow_down ⬇️|arrow_forward ▶️|arrow_left ⬅️|arrow_right ➡️
arrow_up ⬆️|arrows_counterclockwise 🔄|ballot_box_with_check ☑️|bar_chart 📊|black_circle ⚫|large_blue_circle 🔵|blue_circle 🔵
bomb 💣|book 📖|books 📚|boom 💥|brain 🧠|broom 🧹|bug 🐛|bulb 💡|calendar 📆|card_index_dividers 🗂️|chart_with_upwards_trend 📈
check ✔️|checkered_flag 🏁|clipboard 📋|clock1 🕐|clock3 🕒|cloud ☁️|cold_sweat 😰|computer 💻|confetti_ball 🎊|construction 🚧
cop 👮|cry 😢|dart 🎯|desktop_computer 🖥️|dollar 💵|double_vertical_bar ⏸️|electric_plug 🔌|email 📧|exclamation ❗|eyes 👀
fast_forward ⏩|file_folder 📁|fire 🔥|floppy_disk 💾|gear ⚙️|gem 💎|ghost 👻|globe_with_meridians 🌐|grey_exclamation ❕
grey_question ❔|green_circle 🟢|large_green_circle 🟢|green_heart 💚|hammer 🔨|hammer_and_wrench 🛠️|heart ❤️|heavy_check_mark ✔️
heavy_exclamation_mark ❗|heavy_minus_sign ➖|heavy_plus_sign ➕|heavy_multiplication_x ✖️|hourglass ⌛|hourglass_flowing_sand ⏳
inbox_tray 📥|information_source ℹ️|joy 😂|key 🔑|keyboard ⌨️|label 🏷️|large_orange_circle 🟠|large_purple_circle 🟣
large_yellow_circle 🟡|red_circle 🔴|large_red_circle 🔴|white_circle ⚪|orange_circle 🟠|yellow_circle 🟡|purple_circle 🟣|link 🔗|lock 🔒|loudspeaker 📢
mag 🔍|mag_right 🔎|mega 📣|memo 📝|pencil 📝|money_with_wings 💸|moneybag 💰|moyai 🗿|muscle 💪|no_entry ⛔|no_entry_sign 🚫|ok ☑️|ok_hand 👌
octagonal_sign 🛑|outbox_tray 📤|package 📦|page_facing_up 📄|page_with_curl 📃|paperclip 📎|party_popper 🎉|pause_button ⏸️
pencil2 ✏️|point_down 👇|point_left 👈|point_right 👉|point_up ☝️|pray 🙏|pushpin 📌|question ❓|rabbit 🐰|raised_hands 🙌
recycle ♻️|repeat 🔁|rewind ⏪|robot_face 🤖|robot 🤖|rocket 🚀|rotating_light 🚨|satellite 🛰️|satellite_antenna 📡|scales ⚖️|scissors ✂️|scroll 📜
seedling 🌱|shield 🛡️|shrug 🤷|skull 💀|sleeping 😴|zzz 💤|slightly_smiling_face 🙂|smile 😄|snail 🐌|sob 😭|sparkles ✨|speech_balloon 💬
star ⭐|stop_button ⏹️|stop_sign 🛑|stopwatch ⏱️|sunglasses 😎|tada 🎉|test_tube 🧪|thinking_face 🤔|thought_balloon 💭|ticket 🎫
timer_clock ⏲️|toolbox 🧰|traffic_light 🚦|triangular_flag_on_post 🚩|trophy 🏆|unlock 🔓|vertical_traffic_light 🚦|warning ⚠️|wastebasket 🗑️
watch ⌚|wave 👋|white_check_mark ✅|white_large_square ⬜|black_large_square ⬛|wrench 🔧|x ❌|zap ⚡|100 💯|1234 🔢
black_square_for_stop ⏹️|black_right_pointing_triangle ▶️|negative_squared_cross_mark ❎|small_blue_diamond 🔹|large_blue_diamond 🔷
small_orange_diamond 🔸|one 1️⃣|two 2️⃣|three 3️⃣|green_square 🟩|large_green_square 🟩|red_square 🟥|large_red_square 🟥|yellow_square 🟨|large_yellow_square 🟨
`;

const BY_NAME = new Map(
  GLYPHS.trim()
    .split(/[|\n]/)
    .map((entry) => entry.split(' ')),
);

/** The character of a short name, or nothing. */
export const emoji = (name) => BY_NAME.get(name);
